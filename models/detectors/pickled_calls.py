"""What a PyTorch file calls while it is opened, found by reading its pickle without running it.

PyTorch's restricted unpickler asks whether a name is on its list, not how it is used. A network is pickled as classes
that are made without their constructor and filled (NEWOBJ, BUILD). The constructor of a class on the list may well read
files and download weights, and REDUCE calls it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from pathlib import Path

UNKNOWN = ""  # on the stack: anything but a global


def pickled_calls(file: Path) -> Iterator[str]:
    """The dotted names of what the pickle in a .pt file calls; `UNKNOWN` where it calls something without a name.

    Raises:
        ValueError: it is no archive of PyTorch's, or its pickle is damaged.
    """
    import torch  # takes seconds, and most detectors need none of it

    try:
        content = torch._C.PyTorchFileReader(str(file)).get_record("data.pkl")  # what torch.load reads
    except RuntimeError as exc:
        raise ValueError(f"{file} is no archive of PyTorch's") from exc
    try:
        yield from _calls(content)
    except IndexError as exc:
        raise ValueError(f"{file} holds a damaged pickle") from exc


def _calls(content: bytes) -> Iterator[str]:
    stack: list[object] = []
    memo: dict[int, object] = {}
    for opcode, argument, _ in pickletools.genops(content):
        match opcode.name:
            case "GLOBAL":
                stack.append(str(argument).replace(" ", "."))
                continue
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(memo.get(int(argument or 0), UNKNOWN))
                continue
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                memo[int(argument or 0)] = stack[-1]
                continue
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
                continue
            case "STACK_GLOBAL" | "INST" | "OBJ" | "NEWOBJ_EX" | "DUP" | "EXT1" | "EXT2" | "EXT4":
                yield UNKNOWN  # PyTorch writes none of these
            case "REDUCE":
                callee = stack[-2]
                yield callee if isinstance(callee, str) else UNKNOWN
        _move(stack, opcode)


def _move(stack: list[object], opcode: pickletools.OpcodeInfo) -> None:
    """Take from the stack what an opcode takes, and put what it makes."""
    taken = list(opcode.stack_before)
    if pickletools.markobject in taken:
        while stack.pop() is not pickletools.markobject:
            pass
        taken = taken[: taken.index(pickletools.markobject)]
    for _ in taken:
        stack.pop()
    stack += [pickletools.markobject if made is pickletools.markobject else UNKNOWN for made in opcode.stack_after]
