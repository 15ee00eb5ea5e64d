"""What fastnn wants to reach, by family and by the row that a case names as its `bar`."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Target:
    """Least values, each None where nothing is asked.

    `mean` and `each` are ratios to the fastest peer of a case: their geometric mean over the row,
    and the smallest of them. `torch` and `without_ncnn` are geometric means against PyTorch, and
    against the fastest peer when ncnn is left out. `share` is of the machine's limit in every
    case, with one thread and with more. `note` says, where a row falls short, what the limit is and
    what was tried: the report prints it under the row's figures.
    """

    mean: float | None = None
    each: float | None = None
    torch: float | None = None
    without_ncnn: float | None = None
    share: tuple[float, float] | None = None
    note: str = ""


# Limits and what was tried, measured on an AMD EPYC (Zen 4) with AVX-512 on one core.
_RECURRENT_NOTES = {
    "lstm forward, batch 1": (
        "A step cannot be faster than its recurrent weights are read: 0.25 MiB from L2 at 115 "
        "GB/s take 2.3 us (H 128; 2.4 with the gates, 2.7 with the inputs' part beside, 3.3 "
        "reached), 1 MiB from L2 and L3 10.4 us (H 256; 13.5), 16 MiB from L3 at 70 GB/s 240 us "
        "(H 1024; 300); 1.4 would be 2.9 us with H 128. Tried: input projections on the "
        "multiply-adds that reading leaves idle, where weights are within 8 times L2 (1.22, "
        "kept), and spread evenly over the products (1.00, GRU and RNN 1.03, kept); every other "
        "step from the last weights on, which L2 still holds (1.04 to 1.07 with H 256 and 1024, "
        "kept); the next weights fetched into L1 before the gates (0.96 to 0.99); arguments of a "
        "call checked in less time (1.16 with H 32, kept)."
    ),
    "gru forward, batch 1": (
        "As LSTM, with three quarters of the weights: 1.7 us a step to read them with H 128 "
        "(2.5 reached), 7.9 us with H 256 (9.7). Tried: input projections beside reading (1.15, "
        "kept), spread evenly (1.03, kept), every other step from the last weights on (1.03 to "
        "1.07, kept), shorter calls (1.17 with H 32, kept)."
    ),
    "lstm forward, batch 8 to 32": (
        "B16 H256: a step's products take 142 us at the peak, 150 in tiles 256 deep, the gates "
        "10; 160 are reached and the peers are at 165, so that 1.1 would be the peak itself. "
        "Tried: inputs and states in one fused product, without gates in memory (1.02 to 1.06, "
        "kept); rows used where they lie instead of packed (1.01 to 1.02, kept); the next "
        "weights fetched into L2 (1.00 to 1.02, kept), the next step's inputs (1.00); every "
        "other step from the last weights on (0.99 to 1.00); both matrices packed as one (1.01); "
        "tiles of 6 x 4 instead of 8 x 2 (0.98 to 1.00); chunks of projections of 1 instead of "
        "4 MiB (1.01, superseded); two vectors of gates interleaved (0.97); padded rows (1.00)."
    ),
    "lstm forward, batch 64 and more": (
        "As with batch 8 to 32. With 128 rows of 650 the fused product is 0.98 of the speed of "
        "projecting chunks, which is kept there: 13 MB of weights and 10 panels leave L2. Rows "
        "in place instead of packed: 0.98 to 1.00."
    ),
    "gru forward, batch 8 to 32": (
        "Products at 85 to 90% of the peak, the peers at 80: 1.15 would be 97%. Tried: as for "
        "LSTM; the fused product 1.00 to 1.09 (kept), rows in place 1.01 to 1.02 (kept), weights "
        "fetched ahead 1.01 (kept), every other step from the last weights on 0.99 to 1.00."
    ),
    "rnn forward, batch 8 to 32": (
        "The peer is at 70 to 85% of the peak, so that 1.3 would be 91 to 110% of it. With B16 "
        "H256 tiles take 82% of the time, at 96% of the peak, tanh 7%, rows of x and h 8% where "
        "they are packed. Tried: the fused product (1.01 to 1.06, kept), rows in place (1.01 to "
        "1.04, kept), both matrices packed as one (1.01), the next step's inputs fetched ahead "
        "(0.98 to 1.00), every other step from the last weights on (0.97 to 1.00), the fused "
        "product for weights far down in L3 too (0.78 with H 1536)."
    ),
    "lstm training step, batch 1": (
        "A call with H 128 is 79 MFLOP, 666 us at the peak, and PyTorch takes 1790: 2.7 would "
        "be the peak. Recurrent products are read-bound in both passes (2.3 us a step and "
        "pass), the weights' gradients are one product over all steps: at least 680 us, 1030 "
        "reached. Tried: the gradient of x beside reading (1.03 to 1.07, kept); gradients of "
        "gates in rows that do not share the sets of L1 (1.00 to 1.08, kept); input weights "
        "packed as they are used (1.02 to 1.08 with H 1024, kept), or in place for the gradient "
        "of x (0.97); recurrent weights used in place backward instead of packed (0.96)."
    ),
    "lstm training step, batch 8 to 32": (
        "At 79 to 84% of the peak, which itself would be some 1.5 times PyTorch's speed: tiles "
        "take 88% of the time, at 96% of the peak. Tried: gradients in chunks of steps while in "
        "cache (1.22 over whole products, kept), the fused product forward (1.00 to 1.03, kept), "
        "rows of gradients apart and in place instead of packed (1.00 to 1.03, kept), weights "
        "from the last on in every other step (0.99), chunks of 1 or 12 MiB instead of 4 (0.98 "
        "to 1.01)."
    ),
    "lstm training step, batch 64 and more": (
        "At 80 to 87% of the peak, which itself would be some 1.35 times PyTorch's speed. "
        "Tried: gradients in chunks of steps while in cache (1.22, kept), chunks of 1 or 12 MiB "
        "instead of 4 (0.98 to 1.01), rows forward in place instead of packed (0.98 to 1.00)."
    ),
    "rnn training step, batch 64 and more": (
        "At 77 to 84% of the peak, PyTorch at 55 to 64%: 1.4 would be 77 to 90%. Tried: as for "
        "LSTM; the fused product forward 1.01 to 1.06 (kept), rows of gradients apart 1.00."
    ),
    "lstm forward, lengths": (
        "45% of the steps are padding, which is skipped; in the rest 74% of the peak is "
        "reached: the last steps have few rows and only read weights. Tried: fused products "
        "down to 5 rows (8: 0.99), chunks of projections below (1.05, kept), weights fetched "
        "ahead (1.01, kept), more rows in wider and lower tiles (0.99, batch 32)."
    ),
}


_ATTENTION_FORWARD = (
    "Register tiles take 90% of the time: alone, from L2, they run at 95 to 97% of the peak, each "
    "losing some 60 cycles to its stores and 35 more where it adds to what is there. The rest is "
    "softmax. Tried: a shorter exp2 and lines prefetched between the steps of a tile (both kept); "
    "keys that are in L1 already, the most that packing them could gain (1.004); blocks of 294, "
    "392 and 588 keys (0.98 to 1.02); half and twice as many queries a part (0.98 and 1.00); "
    "tiles of 14 instead of 13 rows (1.00); exponents by integer arithmetic."
)
_ATTENTION_BACKWARD = (
    "Of the seven products of a step the register tiles run at 90 to 96%, and weights, packing "
    "and what is stored take a tenth of the time. Tried: one pass for all gradients instead of a "
    "second one for the queries' (1.4 to 1.6 times the backward pass, kept); one product over 128 "
    "keys for the queries' gradient instead of one over 32 (1.01 to 1.03, kept), over 256 (0.99 "
    "to 1.01), or over matrices side by side (0.99); blocks of 112 queries (0.98) and 392 (1.00) "
    "instead of 224; half (0.98) and twice as many keys a part (1.00); weights and their gradient "
    "in one sweep (kept)."
)


def _recurrent() -> dict[str, Target]:
    rows = {}
    for size, forward, training in (
        ("batch 1", {"lstm": 1.4, "gru": 1.4, "rnn": 1.4}, 3.0),
        ("batch 8 to 32", {"lstm": 1.1, "gru": 1.15, "rnn": 1.3}, 1.6),
        ("batch 64 and more", {"lstm": 1.02, "gru": 1.05, "rnn": 1.1}, 1.4),
    ):
        for cell, mean in forward.items():
            rows[f"{cell} forward, {size}"] = Target(mean, 0.95)
            rows[f"{cell} training step, {size}"] = Target(torch=training, each=0.95)
    for cell in ("lstm", "gru", "rnn"):
        rows[f"{cell} forward, lengths"] = Target(torch=2.0)
        rows[f"{cell} training step, lengths"] = Target(torch=3.0)
    return {name: replace(row, note=_RECURRENT_NOTES.get(name, "")) for name, row in rows.items()}


TARGETS: dict[str, dict[str, Target]] = {
    "gemm": {
        "square": Target(
            share=(0.95, 0.92),
            note="The tile alone reaches 99% from L2. Left is C, whose rows lie 4 KiB apart and "
            "begin 16 bytes into a line (1.5 points), and copying such rows of A (3 points: 97% "
            "where rows are a line longer). Tried: 512 deep 0.97 to 1.00, 2048 deep 1.00 to 1.01, "
            "rows of A in place 0.77, packed as panels 1.00, nothing fetched ahead 1.00, huge "
            "pages, the bias in registers.",
        ),
        "rectangular": Target(
            mean=1.0,
            torch=1.15,
            share=(0.9, 0.9),
            note="All libraries run at 88 to 96% of the peak: 1.15 times PyTorch would be more "
            "than all of it. 3072x128x1024 reaches 93% in huge pages, 89% in pages of 4 KiB, and "
            "loses up to ten points where A, 12 MB, shares L3 and memory with others; copying its "
            "rows, 4 KiB apart, is 3.7 points. Tried there: 512 deep 0.96, 2048 deep 0.97 to 1.01, "
            "rows of A packed as panels 0.95, in place 0.81, not fetched ahead 0.96.",
        ),
        "skinny": Target(
            mean=1.1,
            torch=2.0,
            note="4x1024x1024 and 8x2048x512 run at 95 to 97% of the FMA peak, 1x1024x1024 at 90 "
            "GB/s from L3, 1x4096x4096 with its 64 MiB at 38 GB/s, 1.4 times the copy: twice "
            "PyTorch's speed would be 1.4 and 1.2 times the peak for the two of several rows. "
            "Tried: 512 deep 0.98 to 1.00, 2048 deep 1.00, the weights' next columns not fetched "
            "ahead 1.00 (0.94 with 35 rows, whose weights come from memory).",
        ),
        "tiny": Target(
            mean=1.3,
            torch=2.5,
            note="XNNPACK's call makes no array and checks nothing. For 16^3 the kernel takes 0.13 "
            "of 0.8 us, the new array 0.1; for 64^3 and 100^3 it is at 93 and 90% of the peak, and "
            "1.3 times the peer's speed would be 90 and 100% with nothing around it. Tried: no "
            "blocks and nothing fetched ahead for small products (16^3 1.24, 32^3 1.19), weights "
            "looked up and arrays unwrapped without Python (1.19), the GIL kept, half a vector at "
            "the end of a row (100^3 1.06), all kept; before those the interpreter's calling "
            "convention, recording as a native flag, modules called without Python, no packing.",
        ),
        "forward + backward": Target(torch=1.3),
    },
    "conv": {
        "3x3 stride 1": Target(mean=1.1, each=0.95, without_ncnn=2.6),
        "1x1": Target(
            each=0.97,
            torch=1.4,
            note=(
                "All libraries run at 89 to 98% of the FMA peak here, so that 1.4 times PyTorch is "
                "out of reach. The register tile alone runs at 95% of it over 64 channels and 98% "
                "over 256; packing positions, columns that end in part of a vector and writing C "
                "take the rest. Tried: channels in the lanes, both sides transposed (the same at "
                "14x14, 1.2 times at 7x7, kept there), half a vector for the last columns (1.04, "
                "kept), rows in place of packed panels (1.01 in the product alone), C fetched into "
                "L1 just before a tile (1.00), bias in registers (kept)."
            ),
        ),
        "others": Target(mean=1.03, each=0.92, torch=1.3),
        "depthwise, grouped": Target(
            mean=1.15,
            torch=3.0,
            note=(
                "3 times PyTorch is past the machine: against its times the FMA peak would give "
                "4.3 (512 at 14x14), 4.0 (stride 2), 1.9 (5x5) and 3.2 (groups of 4), and moving "
                "10 MB at 40 GB/s 1.9 (96 at 112x112), together 2.9. 5x5 is bound by fma and the "
                "shifts between lanes, at 28 of 32 lanes. Tried: sums by rows, by columns, seven "
                "rows at once. Others gained 1.2 to 2.6 times by reading planes in place."
            ),
        ),
        "1d, 3d, transposed": Target(mean=1.3),
        "training step": Target(
            torch=1.8,
            each=1.0,
            note=(
                "1x1: PyTorch runs at 75 to 80% of the FMA peak, fastnn at 80 to 85%. Tried: "
                "products that end in half a vector instead of transposing (1.04 to 1.07, kept), "
                "rows of transposed weights packed by vectors (1.1 of the input's gradient, kept), "
                "one sum of the weights' gradient within L2 instead of one an image (1.02 to 1.05, "
                "kept; 0.92 where it is 4 MB), that gradient with channels in the lanes (0.6 to "
                "0.9), channels fetched ahead as they are transposed (1.00 to 1.04, lost again in "
                "other shapes), the weights' gradient before the input's (0.95 to 1.0)."
            ),
        ),
    },
    "rnn": _recurrent(),
    "attention": {
        "encoder, forward": Target(mean=1.25, each=1.0, note=_ATTENTION_FORWARD),
        "encoder, forward + backward": Target(
            torch=1.5,
            each=1.0,
            note=(
                "At 384 positions PyTorch runs at 65% of the FMA peak, so that 1.5 asks for 98%; "
                "fastnn is at 80%. " + _ATTENTION_BACKWARD
            ),
        ),
        "long, forward": Target(
            mean=1.25,
            each=1.0,
            share=(0.85, 0.85),
            note="The fastest peers run at 77 to 83% of the FMA peak: 1.25 of that is 96 to 104%. "
            + _ATTENTION_FORWARD,
        ),
        "long, forward + backward": Target(
            torch=1.5,
            each=1.0,
            note=(
                "PyTorch runs at 67% of the FMA peak: 1.5 of that is the peak; fastnn is at 84%. "
                + _ATTENTION_BACKWARD
            ),
        ),
        "long causal, forward": Target(
            mean=1.25, each=1.0, share=(0.78, 0.78), note=_ATTENTION_FORWARD
        ),
        "long causal, forward + backward": Target(torch=1.5, each=1.0, note=_ATTENTION_BACKWARD),
        "wide causal, forward": Target(mean=1.3, each=1.0, share=(0.8, 0.8)),
        "wide causal, forward + backward": Target(
            torch=1.5,
            each=1.0,
            note=(
                "PyTorch runs at 57 to 62% of the FMA peak, so that 1.5 asks for 86 to 94%; fastnn "
                "is at 80%. " + _ATTENTION_BACKWARD
            ),
        ),
        "small and cross, forward": Target(
            mean=1.3,
            each=1.0,
            note=(
                "A head of 32 positions takes 2 microseconds, of which its products are 1.1 "
                "at the peak; softmax, transposing and finding NaN among the values are the "
                "rest. Tried: lines prefetched between the steps of a tile, scaling on the "
                "way out, offsets without divisions (all kept: 1.1 to 1.2 times the speed)."
            ),
        ),
        "small and cross, forward + backward": Target(
            torch=2.0,
            each=1.0,
            note=(
                "At 1024 x 77 PyTorch runs at 49% of the FMA peak, so that 2.0 asks for 98%. At 64 "
                "x 64 with width 32, where products take three quarters of the backward pass at 85 "
                "to 90% of the peak, packing, transposing back, the products of outputs and their "
                "gradients and weights are 3 to 6% each. Tried also: scaling on the way out, kept, "
                "gradients begun by their first product instead of zeros (1.01 to 1.05, kept). "
                + _ATTENTION_BACKWARD
            ),
        ),
        "decode, forward": Target(
            mean=1.3,
            each=1.0,
            share=(0.85, 0.85),
            note=(
                "Keys and values are read once; from L3 the same work runs at 59 GB/s, so that two "
                "fifths of the time are arithmetic that reading has to hide. Tried: a line of the "
                "next page fetched while one is read (one row 1.03 to 1.15, kept: 97 to 100% of "
                "what a loop that only reads reached beside it, 90 to 95% before), runs of 512 "
                "keys, then of their values, instead of 128 (1.17 times the speed of one row, "
                "kept), sums of lanes by pairs and results checked for NaN instead of values (1.1 "
                "from L3, kept), 2 to 16 KiB fetched ahead into L2 (four rows 1.2 and kept, one "
                "row 0.9 to 1.0), into L1 (0.8 and 0.5), four keys side by side for one row (0.8)."
            ),
        ),
    },
    "transformer": {
        "forward": Target(
            mean=1.3,
            note=(
                "The fastest peers run the layer at 85% of the FMA peak: 1.3 of that is more "
                "than the peak. Of 4.9 ms at batch 1 the products take 4.4, which would be 3.8 at "
                "the peak: alone, with their weights in L2, they run at 90 to 95% of it, in turn, "
                "with 7 MB of weights from L3, at 80 to 88. Attention takes 0.35 ms, both norms "
                "0.06, gelu 0.05 and Python 0.03. Tried: activations by tiles instead of rows "
                "(1.01 to 1.02, of width 128 1.04, kept), the sum with the residual in the product "
                "(kept), queries, keys and values in one product (kept); a norm inside of the "
                "product could gain 1.01."
            ),
        ),
        "forward + backward": Target(),
    },
    "models": {"inference": Target(mean=1.0), "training step": Target(torch=1.5)},
    "pool": {
        "forward": Target(
            mean=1.1,
            each=0.9,
            note="480x28 3/2 at batch 1: a row of 14 outputs takes six loads down, two stores and "
            "three loads across, and a maximum that keeps NaN is two instructions; XNNPACK has 480 "
            "channels in its lanes, where no row ends in half a vector. Tried: rows of all "
            "planes in one run (1.8 times for windows that tile, kept), columns sorted when they "
            "are folded across instead of down (1.1 times for pairs, kept), planes in registers "
            "(3/1 only). Batch 16 of 64x112 and 64x224 is 64 and 257 MB, bound by memory.",
        ),
        "forward + backward": Target(
            torch=5.0,
            each=0.9,
            note="one pass over the input, the output and both gradients at the speed of a copy "
            "would be 2.9 x PyTorch over these cases. The search for taps takes half of the time "
            "of max pooling: a load, a comparison and two selections a tap. Tried for its "
            "gradient: gathering with lists of taps a row, with constant offsets in blocks of "
            "rows, over many planes at once (1.2 times), and one output after the other (1.3 to 3 "
            "times, kept). Windows that tile in pairs need no copy and no sum: 64x224 2/2 2.7 "
            "times, kept; rows of 7 or 8 outputs fill half a vector: searched so 1.2 times, kept, "
            "gradients 0.7 to 0.9. "
            "Large adaptive windows are searched row by row: 8x8 2.4 times, kept; 2x2 so 0.3.",
        ),
    },
    "norm": {
        "forward": Target(
            mean=1.2,
            each=0.9,
            note="batch_norm reads a channel of 16 images twice, and input and output together "
            "just fill the last cache: prefetching the next channel, results past the caches and "
            "one pass about the mean so far gave 5% between them.",
        ),
        "forward + backward": Target(torch=1.3, each=0.9),
    },
    "softmax": {
        "forward": Target(
            mean=1.15,
            each=0.9,
            torch=1.8,
            note="8192x768 is 50 MB, which at 25 GB/s take 2.0 ms, what softmax takes: 93% of the "
            "copy, XNNPACK's as well. Tried: results past the caches, weights in a buffer until "
            "they are scaled, prefetching the next rows (all slower), and for log_softmax one row "
            "after the other instead of groups that share a logarithm (1.15 times, kept).",
        )
    },
    "elementwise": {
        "cache": Target(
            mean=1.1,
            each=0.9,
            torch=1.5,
            note="sigmoid within 2 ULP down to subnormal results takes 11 multiply-adds and a "
            "quotient for a vector, which keep the units busy; XNNPACK's rounds sooner. Tables of "
            "8 and 32 powers, exp of the magnitude and expm1 took as long or longer. An "
            "approximate reciprocal with one step of Newton 0.95 of the speed, with two 0.83: the "
            "quotient is hidden behind the rest. The exponent by vreduce and vscalef 1.06, before "
            "the low part of log2(e) that 2 ULP ask for.",
        ),
        "memory": Target(mean=1.1, each=0.9, torch=1.5, share=(0.9, 0.9)),
    },
    "loss": {
        "cross_entropy forward + backward": Target(torch=1.5),
        "ctc_loss forward + backward": Target(torch=2.0),
    },
    "optim": {"Adam": Target(torch=1.0, share=(0.9, 0.9))},
    "embedding": {"forward + backward": Target(torch=2.0)},
}
