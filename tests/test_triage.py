"""The cause of a failed run in one word with advice, from its error or its process's end."""

from __future__ import annotations

import errno
import signal

import pytest
import torch

from birds.core.spec import UserError
from birds.core.triage import Kind, failure_of, failure_of_death, kind_of

ERRORS = [
    (MemoryError(), Kind.MEMORY),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"), Kind.MEMORY),
    (
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 "
            "bytes"
        ),
        Kind.MEMORY,
    ),
    (
        FloatingPointError("train_loss became nan in epoch 3: lower the learning rate"),
        Kind.DIVERGED,
    ),
    (UserError("unreadable photo /a/b.jpg (image file is truncated): repair it"), Kind.DATA),
    (UserError("disk full while writing /a: free some disk space"), Kind.DISK),
    (OSError(errno.ENOSPC, "No space left on device"), Kind.DISK),
    (UserError("device=cuda: PyTorch sees no GPU here"), Kind.REFUSED),
    (KeyError("photo"), Kind.BUG),
    (OSError("AF_UNIX path too long"), Kind.MACHINE),
    (OSError(errno.ENOLCK, "No locks available"), Kind.MACHINE),
    (PermissionError(errno.EACCES, "Permission denied", "/a/b"), Kind.MACHINE),
    (RuntimeError("CUDA error: no CUDA-capable device is detected"), Kind.MACHINE),
    (UnicodeEncodeError("utf-8", "\udcc1guia", 0, 1, "surrogates not allowed"), Kind.MACHINE),
]


@pytest.mark.parametrize(("error", "kind"), ERRORS, ids=lambda value: str(value)[:30])
def test_kinds_of_errors(error: BaseException, kind: Kind) -> None:
    failure = failure_of(error)
    assert failure.kind is kind
    first, second, *_ = str(failure).splitlines()
    assert first.startswith(f"{kind.word}: {type(error).__name__}")
    assert second == f"cure: {kind.cure}"
    assert kind_of(str(failure)) is kind


def test_the_traceback_is_kept() -> None:
    with pytest.raises(ValueError, match="here") as caught:
        raise ValueError("here")
    assert 'raise ValueError("here")' in str(failure_of(caught.value))


def test_how_a_process_ended() -> None:
    kill = -signal.SIGKILL
    assert failure_of_death(kill, memory_short=True, details="").kind is Kind.MEMORY
    assert failure_of_death(kill, memory_short=False, details="").kind is Kind.KILLED
    assert failure_of_death(None, memory_short=False, details="").kind is Kind.KILLED
    assert failure_of_death(-signal.SIGSEGV, memory_short=True, details="").kind is Kind.KILLED
    assert failure_of_death(-signal.SIGBUS, memory_short=False, details="").kind is Kind.MACHINE
    assert failure_of_death(1, memory_short=True, details="last words").kind is Kind.BUG


def test_a_text_of_another_form_has_no_kind() -> None:
    assert kind_of("Traceback (most recent call last)") is None
