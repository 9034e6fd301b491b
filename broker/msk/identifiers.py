"""Names that the service makes up: versions, keys, network interfaces."""

from __future__ import annotations

import string
import uuid
from random import Random

_VERSION = string.ascii_uppercase + string.digits


def version(entropy: Random) -> str:
    """A currentVersion, such as K3P5ROKL5A1OLE."""
    return "K" + "".join(entropy.choices(_VERSION, k=13))


def key(entropy: Random) -> str:
    """What makes an ARN unique: a uuid and a number, such as abcd1234-abcd-cafe-abab-9876543210ab-4."""
    return f"{uuid.UUID(int=entropy.getrandbits(128), version=4)}-{entropy.randint(1, 25)}"


def operation_key(entropy: Random) -> str:
    """A cluster operation's own part of its ARN: a uuid."""
    return str(uuid.UUID(int=entropy.getrandbits(128), version=4))


def interface(entropy: Random) -> str:
    """A network interface, such as eni-0123456789abcdef0."""
    return f"eni-{entropy.getrandbits(68):017x}"


def host_part(entropy: Random) -> str:
    """The six letters and digits in a broker's host name that tell clusters of one name apart."""
    return "".join(entropy.choices(string.ascii_lowercase + string.digits, k=6))
