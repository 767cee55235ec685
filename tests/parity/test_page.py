"""The page: whole in itself, every layer with its bar, heat maps by gate; seen in a real browser where there is one."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import weightport as wp
from weightport.parity.page import parity_page

torch = pytest.importorskip("torch")

from parity_models import Recurrent, gates_exchanged  # noqa: E402

VOID = {"meta", "rect", "br"}
LOADS = {"src", "href", "srcset", "action", "data"}


class Page(HTMLParser):
    """The page taken apart: its tags in order with their attributes, the text in each, and whether all are closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID or tag == "rect":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))

    def of(self, tag, **attributes):
        """The attributes of every such tag."""
        return [
            found for name, found in self.tags if name == tag and all(found.get(k) == v for k, v in attributes.items())
        ]

    def text(self, tag):
        """All text inside such a tag."""
        return "".join(data for where, data in self.texts if tag in where)


@pytest.fixture(scope="module")
def parity():
    """A GRU whose gates are exchanged, between two dense layers."""
    torch.manual_seed(4)
    right, wrong = Recurrent("GRU").eval(), Recurrent("GRU").eval()
    wrong.load_state_dict(right.state_dict())
    return wp.verify(right, gates_exchanged(wrong, 0, 2))


@pytest.fixture(scope="module")
def agreeing():
    """A module and itself."""
    model = Recurrent().eval()
    return wp.verify(model, model)


def test_the_page_has_the_verdict_the_causes_and_one_bar_a_layer(parity):
    page = Page(parity_page(parity))
    assert page.text("h1") == parity.summary
    assert all(cause in page.text("ol") for cause in parity.causes)
    assert [len(page.of("svg", **{"class": f"bar {kind}"})) for kind in ("agrees", "differs")] == [1, 2]
    assert len(page.of("tr", **{"class": "first"})) == 1
    assert len(page.of("header", **{"class": "fail"})) == 1


def test_a_bar_is_longer_for_a_larger_error_by_decades_and_has_its_tolerance(parity):
    text = parity_page(parity)
    widths = [float(width) for width in re.findall(r'class="error"[^>]*width="([\d.]+)"', text)]
    errors = [layer.measured.maximum for layer in parity.layers]
    assert sorted(range(3), key=widths.__getitem__) == sorted(range(3), key=errors.__getitem__)
    assert len(re.findall('class="tolerance"', text)) == 3


def test_heat_maps_show_each_gate_and_the_exchanged_ones_are_dark(parity):
    (first, *_) = [heat for layer in parity.layers for heat in layer.heat]
    assert first.rows == ("update", "reset", "candidate")
    assert max(first.values[0]) == 0
    assert min(first.values[1]) > 0
    page = Page(parity_page(parity))
    assert len(page.of("svg", **{"class": "heat"})) == 4
    assert "candidate" in page.text("text")


def test_the_page_needs_nothing_from_anywhere(parity):
    text = parity_page(parity)
    page = Page(text)
    assert not {name for _, attributes in page.tags for name in attributes} & LOADS
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_names_from_a_file_cannot_become_markup(parity):
    evil = '<script>alert("x")</script>'
    layers = tuple(replace(layer, name=evil, other=evil, settings=(evil,)) for layer in parity.layers)
    text = parity_page(replace(parity, one=evil, causes=(evil,), layers=layers))
    Page(text)
    assert "<script" not in text


def test_a_page_of_models_that_agree_says_so(agreeing):
    page = Page(parity_page(agreeing))
    assert "compute the same" in page.text("h1")
    assert len(page.of("header", **{"class": "pass"})) == 1
    assert not page.of("section", id="causes")


def test_problems_and_infinite_errors_are_shown(parity):
    layer = parity.layers[0]
    broken = replace(layer.difference, problem="NaN: 1 elements against 0 of 9", maximum=float("inf"))
    text = parity_page(replace(parity, layers=(replace(layer, difference=broken),)))
    assert "NaN: 1 elements" in Page(text).text("small")


def test_the_command_writes_the_page_and_does_not_replace_one_unless_told(tmp_path):
    from click.testing import CliRunner

    from weightport.cli import cli

    torch.save(Recurrent().state_dict(), tmp_path / "m.pt")
    command = ["verify", str(tmp_path / "m.pt"), str(tmp_path / "m.pt"), "--html", str(tmp_path / "page.html")]
    assert CliRunner().invoke(cli, command).exit_code == 0
    assert "compute the same" in Page((tmp_path / "page.html").read_text()).text("h1")
    again = CliRunner().invoke(cli, command)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert CliRunner().invoke(cli, [*command, "--overwrite"]).exit_code == 0


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def corner(image):
    """Red, green and blue of a PNG's first pixel."""
    data = Path(image).read_bytes()
    packed, position = b"", 8
    while position < len(data):
        size, name = struct.unpack(">I4s", data[position : position + 8])
        packed += data[position + 8 : position + 8 + size] if name == b"IDAT" else b""
        position += size + 12
    return tuple(zlib.decompress(packed)[1:4])  # of the first pixel, no filter changes anything


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page is not looked at in a browser")
@pytest.mark.parametrize(("scheme", "paper"), [(1, (251, 251, 249)), (0, (20, 23, 26))], ids=["light", "dark"])
def test_a_browser_shows_the_page_in_light_and_in_dark(parity, tmp_path, scheme, paper):
    (tmp_path / "page.html").write_text(parity_page(parity), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path / 'b'}"]
    options += [f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1200,1400"]
    where = [f"--screenshot={tmp_path / 'page.png'}", "--dump-dom", (tmp_path / "page.html").as_uri()]
    shown = subprocess.run([CHROMIUM, *options, *where], capture_output=True, text=True, timeout=120, check=True)
    assert parity.summary in shown.stdout
    assert corner(tmp_path / "page.png") == paper
