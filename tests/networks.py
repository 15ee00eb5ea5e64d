"""Textbook networks as their authors' PyTorch code has them, for either library.

A library is a namespace with ``nn``, ``F``, ``concatenate`` and ``zeros``. Between the layers there
is only what PyTorch's tensors, NumPy's arrays and fastnn's Tensors have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def vgg(lib: Any) -> Any:
    """Simonyan and Zisserman, 2015, with batch normalisation."""
    nn = lib.nn
    layers: list[Any] = []
    channels = 3
    for width in (8, "M", 16, "M", 16, 16, "M"):
        if width == "M":
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        else:
            layers += [
                nn.Conv2d(channels, width, kernel_size=3, padding=1),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
    head = [nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*layers, *head)


def resnet(lib: Any) -> Any:
    """He et al., 2016: bottlenecks."""
    nn, functional = lib.nn, lib.F

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
            self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(4 * width)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = None
            if stride != 1 or inputs != 4 * width:
                shortcut = nn.Conv2d(inputs, 4 * width, 1, stride=stride, bias=False)
                self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))

        def forward(self, x: Any) -> Any:
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.relu(self.bn2(self.conv2(out)))
            out = self.bn3(self.conv3(out))
            out += x if self.downsample is None else self.downsample(x)
            return self.relu(out)

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(8)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
            self.layer1 = nn.Sequential(Bottleneck(8, 4), Bottleneck(16, 4))
            self.layer2 = Bottleneck(16, 8, stride=2)
            self.fc = nn.Linear(32, 10)

        def forward(self, x: Any) -> Any:
            x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
            x = functional.adaptive_avg_pool2d(self.layer2(self.layer1(x)), 1)
            return self.fc(x.reshape(x.shape[0], -1))

    return ResNet()


def inception(lib: Any) -> Any:
    """Szegedy et al., 2015 and 2016: branches, one factorised."""
    nn, functional = lib.nn, lib.F

    class Inception(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(3, 8, 1)
            self.five = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 5, padding=2))
            self.row = nn.Conv2d(3, 8, (1, 7), padding=(0, 3))
            self.column = nn.Conv2d(8, 8, (7, 1), padding=(3, 0))
            self.pool = nn.Conv2d(3, 8, 1)
            self.fc = nn.Linear(32, 10)

        def forward(self, x: Any) -> Any:
            pooled = functional.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
            branches = [self.one(x), self.five(x), self.column(self.row(x)), self.pool(pooled)]
            return self.fc(functional.relu(lib.concatenate(branches, 1)).mean((2, 3)))

    return Inception()


def xception(lib: Any) -> Any:
    """Chollet, 2017: depthwise separable convolutions around a skip."""
    nn = lib.nn

    class Xception(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 2, bias=False)
            self.block = nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False),
                nn.Conv2d(8, 16, 1, bias=False),
                nn.BatchNorm2d(16),
                nn.MaxPool2d(3, 2, 1),
            )
            self.skip = nn.Conv2d(8, 16, 1, stride=2, bias=False)
            self.fc = nn.Linear(16, 10)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            return self.fc((self.block(x) + self.skip(x)).mean((2, 3)))

    return Xception()


def unet(lib: Any) -> Any:
    """Ronneberger et al., 2015: what was halved comes back beside what was not."""
    nn, functional = lib.nn, lib.F

    def double(inputs: int, outputs: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(2, outputs),
            nn.LeakyReLU(0.1),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.SiLU(),
        )

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down1, self.down2, self.middle = double(3, 8), double(8, 16), double(16, 32)
            self.up2 = nn.ConvTranspose2d(32, 16, 2, stride=2)
            self.conv2, self.conv1 = double(32, 16), double(24, 8)
            self.up1 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.out = nn.Conv2d(8, 5, 1)

        def forward(self, x: Any) -> Any:
            first = self.down1(x)
            second = self.down2(functional.max_pool2d(first, 2))
            y = self.up2(self.middle(functional.max_pool2d(second, 2)))
            rows, columns = (second.shape[i] - y.shape[i] for i in (2, 3))
            y = functional.pad(y, [0, columns, 0, rows])
            y = self.up1(self.conv2(lib.concatenate([second, y], 1)))
            return self.out(self.conv1(lib.concatenate([first, y], 1)))

    return UNet()


def autoencoder(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ELU()),
        *(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.GELU()),
        *(nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1), nn.Softplus()),
        *(nn.ConvTranspose2d(8, 3, 3, 2, 1, output_padding=1), nn.Sigmoid()),
    )


def tagger(lib: Any) -> Any:
    """A bidirectional GRU of two layers over packed sequences."""
    nn = lib.nn

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20, 12, padding_idx=0)
            self.rnn = nn.GRU(12, 8, num_layers=2, batch_first=True, bidirectional=True)
            self.fc = nn.Linear(16, 7)

        def forward(self, words: Any) -> Any:
            packed = nn.utils.rnn.pack_padded_sequence(
                self.embedding(words), [7, 4, 6], batch_first=True, enforce_sorted=False
            )
            out, _ = self.rnn(packed)
            return self.fc(nn.utils.rnn.pad_packed_sequence(out, batch_first=True)[0])

    return Tagger()


def sequence_to_sequence(lib: Any) -> Any:
    """Bahdanau et al., 2015: a decoder that attends over the encoder's states."""
    nn, functional = lib.nn, lib.F

    class Seq2Seq(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source, self.target = nn.Embedding(20, 8), nn.Embedding(20, 8)
            self.encoder = nn.LSTM(8, 16, batch_first=True)
            self.energy, self.score = nn.Linear(32, 16), nn.Linear(16, 1, bias=False)
            self.decoder = nn.LSTMCell(24, 16)
            self.out = nn.Linear(32, 20)

        def forward(self, words: Any) -> Any:
            states, (h, c) = self.encoder(self.source(words))
            h, c, outputs = h[-1], c[-1], []
            for t in range(words.shape[1]):
                query = lib.concatenate([h[:, None]] * states.shape[1], 1)
                energy = functional.tanh(self.energy(lib.concatenate([query, states], 2)))
                weights = functional.softmax(self.score(energy), 1)
                context = (weights * states).sum(1)
                inputs = lib.concatenate([self.target(words[:, t]), context], 1)
                h, c = self.decoder(inputs, (h, c))
                outputs.append(self.out(lib.concatenate([h, context], 1))[:, None])
            return lib.concatenate(outputs, 1)

    return Seq2Seq()


def transformer(lib: Any) -> Any:
    """Vaswani et al., 2017: encoder and decoder, with a causal mask and one for padding."""
    nn = lib.nn

    class Translator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20, 16)
            self.transformer = nn.Transformer(16, 4, 2, 2, 32, dropout=0.0, batch_first=True)
            self.fc = nn.Linear(16, 20)

        def forward(self, words: Any) -> Any:
            x = self.embedding(words) * 4.0
            mask = nn.Transformer.generate_square_subsequent_mask(words.shape[1])
            padding = words == 0
            out = self.transformer(
                x, x, tgt_mask=mask < 0, src_key_padding_mask=padding,
                memory_key_padding_mask=padding,
            )  # fmt: skip
            return self.fc(out)

    return Translator()


def gpt(lib: Any) -> Any:
    """Radford et al., 2019, with the weights of embedding and output tied."""
    nn, functional = lib.nn, lib.F

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(16), nn.LayerNorm(16)
            self.c_attn, self.c_proj = nn.Linear(16, 48), nn.Linear(16, 16)
            self.mlp = nn.Sequential(
                nn.Linear(16, 64), nn.GELU(approximate="tanh"), nn.Linear(64, 16)
            )

        def forward(self, x: Any) -> Any:
            batch, length, width = x.shape
            qkv = self.c_attn(self.ln_1(x)).reshape(batch, length, 3, 2, width // 2)
            q, k, v = (qkv[:, :, i].swapaxes(1, 2) for i in range(3))
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.c_proj(y.swapaxes(1, 2).reshape(batch, length, width))
            return x + self.mlp(self.ln_2(x))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(20, 16), nn.Embedding(8, 16)
            self.h = nn.ModuleList([Block() for _ in range(2)])
            self.ln_f = nn.LayerNorm(16)
            self.lm_head = nn.Linear(16, 20, bias=False)
            self.lm_head.weight = self.wte.weight
            self.apply(self.initialise)

        def initialise(self, module: Any) -> None:
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, mean=0.0, std=0.2)

        def forward(self, words: Any) -> Any:
            x = self.wte(words) + self.wpe.weight[: words.shape[1]]
            for block in self.h:
                x = block(x)
            return self.lm_head(self.ln_f(x))

    return GPT()


def vision_transformer(lib: Any) -> Any:
    """Dosovitskiy et al., 2021: patches as words."""
    nn = lib.nn

    class ViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 16, kernel_size=4, stride=4)
            self.token = nn.Parameter(lib.zeros(1, 1, 16))
            self.positions = nn.Parameter(lib.zeros(1, 17, 16))
            nn.init.normal_(self.positions)
            layer = nn.TransformerEncoderLayer(
                16, 2, 32, dropout=0.0, activation="gelu", batch_first=True
            )
            self.encoder = nn.TransformerEncoder(layer, 2)
            self.head = nn.Linear(16, 10)

        def forward(self, x: Any) -> Any:
            x = self.patches(x)
            x = x.reshape(x.shape[0], 16, -1).swapaxes(1, 2)
            token = self.token.broadcast_to((x.shape[0], 1, 16))
            x = self.encoder(lib.concatenate([token, x], 1) + self.positions)
            return self.head(x[:, 0])

    return ViT()


Network = Callable[[Any], Any]
OF_IMAGES: tuple[Network, ...] = (
    *(vgg, resnet, inception, xception, unet, autoencoder, vision_transformer),
)
OF_WORDS: tuple[Network, ...] = (tagger, sequence_to_sequence, transformer, gpt)
