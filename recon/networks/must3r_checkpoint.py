"""Checkpoints of MUSt3R, and of the retrieval that orders photos for it.

A checkpoint holds the texts of two constructor calls, which are parsed and never evaluated. The visual words of the
retrieval lie in a plain pickle, of which nothing but plain values and arrays is ever made.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recon.checkpoint import fill, read_json_beside, read_with_arguments
from recon.errors import InputError
from recon.networks.configuration import check
from recon.networks.must3r_configuration import Configuration, read_configuration
from recon.networks.must3r_retrieval import Retrieval, read_retrieval

LARGEST = 1 << 30  # bytes of a file of visual words


def read_checkpoint(path: Path) -> tuple[Configuration, dict[str, Tensor]]:
    """What network a checkpoint is for, and the weights for `recon.checkpoint.fill`, mapped from the file.

    Raises:
        InputError: no such file, a damaged one, or one of another network.
    """
    state, said = read_with_arguments(path)
    if not {"encoder", "decoder"} <= said.keys():
        said = read_json_beside(path)  # as safetensors have it
    if not {"encoder", "decoder"} <= said.keys():
        return Configuration(), state
    return read_configuration(said["encoder"], said["decoder"]), state


def load_retrieval(path: Path, words: Path, width: int) -> tuple[Retrieval, Tensor]:
    """The retrieval whose weights lie at ``path``, and its visual words ``[W,width] float32``.

    Args:
        path: of its checkpoint.
        words: of the pickle with the visual words.
        width: channels of the encoder's tokens.

    Raises:
        InputError: a file that is missing, damaged, or of something else.
    """
    state, arguments = read_with_arguments(path)
    with torch.device("meta"):
        network = read_retrieval(arguments, width)
    fill(network, state, path.name)
    centroids = read_words(words)
    check(centroids.shape[1] == width, f"visual words have {centroids.shape[1]} channels, not {width}")
    expected = arguments.get("nclusters", len(centroids))
    check(len(centroids) == expected, f"there are {len(centroids)} visual words, not {expected}")
    return network.eval().requires_grad_(False), torch.from_numpy(centroids)


def read_words(path: Path) -> np.ndarray:
    """The visual words ``[W,C] float32`` of a pickled ASMK codebook.

    Raises:
        InputError: no such file, a damaged one, or one that holds anything else.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"'{path.name}' is too large for visual words; fetch it anew.")
        with path.open("rb") as file:
            content = _Plain(file).load()
        words = np.asarray(content["state"]["centroids"])
    except OSError as error:
        raise InputError(f"The visual words '{path}' cannot be read; fetch them anew.") from error
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(f"'{path.name}' holds no visual words that can be read; fetch it anew.") from error
    if words.dtype.kind != "f" or words.ndim != 2 or not words.size:
        raise InputError(f"'{path.name}' holds no visual words; fetch it anew.")
    return np.ascontiguousarray(words, np.float32)


class _Plain(pickle.Unpickler):
    """Makes plain values and arrays of numbers, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _empty
        if module in ("numpy.core.numeric", "numpy._core.numeric") and name == "_frombuffer":
            return _of_buffer
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return _dtype
        if (module, name) == ("_codecs", "encode"):  # how protocols before 3 hold bytes
            return _latin
        raise pickle.UnpicklingError(f"{module}.{name} is neither a plain value nor an array")


def _empty(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError("an array that is none")
    return np.empty(0, np.float32)


def _of_buffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _dtype(code: str, *_: object) -> np.dtype:
    dtype = np.dtype(code)
    if dtype.kind not in "fiu":
        raise pickle.UnpicklingError("an array of something else than numbers")
    return dtype


def _latin(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError("bytes in another encoding")
    return text.encode("latin1")
