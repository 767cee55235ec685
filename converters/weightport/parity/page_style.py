"""The look of the page of a comparison, in light and in dark. Fonts are the reader's own."""

STYLE = """
:root {
  --paper: #fbfbf9; --card: #fff; --ink: #1d2125; --soft: #5b6570; --line: #dfe3e6;
  --good: #1a7f4b; --bad: #c0262d; --mute: #6b7580; --good-soft: #e3f4ea; --bad-soft: #fdeaea; --mute-soft: #eef0f2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --card: #1c2024; --ink: #e8eaec; --soft: #a0abb5; --line: #32393f;
    --good: #4cc38a; --bad: #ff7a7a; --mute: #98a3ad; --good-soft: #16301f; --bad-soft: #3a1a1c; --mute-soft: #262c31;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 64px; }
header { background: var(--card); border: 1px solid var(--line); border-left: 6px solid var(--good); border-radius: 8px;
  padding: 18px 22px; }
header.fail { border-left-color: var(--bad); }
.eyebrow { margin: 0; color: var(--soft); font-size: 13px; letter-spacing: .04em; }
h1 { margin: 2px 0 12px; font-size: 22px; line-height: 1.3; }
header.pass h1 { color: var(--good); }
header.fail h1 { color: var(--bad); }
h2 { margin: 32px 0 10px; font-size: 17px; }
dl { margin: 0 0 12px; }
dl div { display: flex; gap: 10px; }
dt { font-weight: 600; }
dd { margin: 0; overflow-wrap: anywhere; }
dd span, .depths span:last-child, .notes, small { color: var(--soft); }
.depths { list-style: none; margin: 0; padding: 0; display: grid; gap: 4px; }
.depths b { display: inline-block; min-width: 64px; }
.notes { font-size: 13px; padding-left: 18px; }
code { font: 13px/1.4 ui-monospace, Menlo, Consolas, monospace; }
ol { padding-left: 22px; margin: 0; }
ol li { padding: 8px 12px; margin-bottom: 6px; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 8px 12px; border-bottom: 1px solid var(--line); vertical-align: top; }
tbody tr:last-child td { border-bottom: 0; }
th { font-size: 13px; font-weight: 600; color: var(--soft); white-space: nowrap; }
#outputs td, #layers td:not(:first-child) { white-space: nowrap; }
tr.first { background: var(--bad-soft); }
em { font-style: normal; font-weight: 600; color: var(--bad); margin-left: 6px; white-space: nowrap; }
small { display: block; max-width: 34em; }
.badge { display: inline-block; padding: 0 8px; border-radius: 9px; font-size: 12px; font-weight: 600;
  white-space: nowrap; color: var(--mute); background: var(--mute-soft); }
.badge.agrees { color: var(--good); background: var(--good-soft); }
.badge.differs { color: var(--bad); background: var(--bad-soft); }
.bar { display: block; width: 220px; height: 18px; background: var(--mute-soft); border-radius: 3px; }
.bar .grid { fill: var(--line); }
.bar .error { fill: var(--good); }
.bar.differs .error { fill: var(--bad); }
.bar .tolerance { fill: var(--ink); }
.maps { display: flex; flex-wrap: wrap; gap: 18px; }
figure { margin: 0; padding: 14px; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  max-width: 100%; overflow-x: auto; }
figcaption { margin-bottom: 8px; font-size: 13px; color: var(--soft); }
.heat rect { fill: var(--bad); }
.heat text { fill: var(--soft); font: 11px system-ui, sans-serif; }
"""
