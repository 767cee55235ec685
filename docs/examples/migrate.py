"""Bring a Keras model to PyTorch and prove it: the twin is written by hand, the weights are not."""

import keras
import torch

import weightport as wp
from weightport.parity import assert_parity

layers = [
    keras.layers.Embedding(50, 8, name="words"),
    keras.layers.Bidirectional(keras.layers.LSTM(6, return_sequences=True), name="reader"),
    keras.layers.GRU(5, name="summary"),
    keras.layers.Dense(3, activation="softmax", name="topic"),
]
trained = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])


class Twin(torch.nn.Module):
    """The same model; its children are called as the Keras layers are."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(50, 8)
        self.reader = torch.nn.LSTM(8, 6, batch_first=True, bidirectional=True)
        self.summary = torch.nn.GRU(12, 5, batch_first=True)
        self.topic = torch.nn.Linear(5, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        steps, _ = self.reader(self.words(tokens))
        return self.topic(self.summary(steps)[0][:, -1]).softmax(-1)


twin = Twin().eval()
print("converted:", wp.convert(trained, twin).verdict)
print(assert_parity(trained, twin).summary)
