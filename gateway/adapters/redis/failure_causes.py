"""Explains why Redis cannot be used, in one line for operators."""

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import InvalidResponse, NoPermissionError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.config.redis_url import RedisAddress

CLUSTER = (
    "it is a Redis Cluster, which the gateway cannot use:"
    " name one server, or Sentinels as redis+sentinel://host1,host2/master/0"
)
HUNG_UP = "it hung up"
_SPEAKS_TLS = "it speaks TLS on this port: write rediss:// with two s"
_SPEAKS_NO_TLS = "it does not speak TLS on this port: write redis:// with one s"
_SILENT = "it does not answer in time"
_WANTS_OURS = "it wants a certificate of ours: ssl_certfile and ssl_keyfile name it"
_SILENT_END = "it hangs up on us without a word"
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING")
_LONGEST = 200
_PROBE_SECONDS = 0.5
_PROBE_BYTES = 512

# Causes by the text of an error reply, without its first word, which redis-py removes if it knows it.
_SAID = (
    (("DENIED",), "it is in protected mode: give it a password, or bind it to loopback only"),
    (("invalid username-password", "invalid password"), "it refuses the user or the password"),
    (("Authentication required", "NOAUTH"), "it wants a password"),
    (
        ("without any password configured", "no password is set"),
        "it has no password, but GATEWAY_REDIS_URL has one",
    ),
    (("max number of clients",), "it has as many clients as it may have (maxclients)"),
    (("CROSSSLOT", "MOVED ", "CLUSTERDOWN", "cluster mode"), CLUSTER),
    (("command not allowed when used memory", "OOM "), "it is out of memory (maxmemory)"),
    (("MISCONF",), "it refuses writes because it cannot save to its disk"),
    (("NOREPLICAS",), "it refuses writes because too few replicas follow it"),
    (("previous master is now a slave",), "the master has just been replaced"),
    (("loading the dataset",), "it is still loading its data"),
    (("MASTERDOWN",), "it is a replica that has lost its master"),
    (("command 'SENTINEL'",), "it is no Sentinel: write redis:// for the server itself"),
    (("unknown command",), "it lacks a command; where it is a Sentinel, write redis+sentinel://"),
    (("DB index is out of range", "invalid DB index"), "it has no database of that number"),
)
_HUNG_UP_WORDS = (
    "Connection closed by",
    "Connection lost",
    "Connection reset",
    "writing to socket",
)


def cause_of(error: BaseException, address: RedisAddress) -> str:
    """Return the cause in one line; it names neither host nor login, so anybody may read it."""
    for one in _chain(error):
        if cause := _known(one, address):
            return cause
    return _short(f"{type(error).__name__}: {error}")


async def diagnose(error: BaseException, address: RedisAddress) -> str:
    """Return the cause like `cause_of`, after asking a server that hung up or kept silent for its reason."""
    cause = cause_of(error, address)
    if address.master or cause not in (HUNG_UP, _SILENT):
        return cause
    if address.tls and cause == HUNG_UP:
        return _WANTS_OURS if not address.tls.certificate else _SILENT_END
    if address.tls:
        words = await _exchange(address, b"PING\r\n")
        return _SPEAKS_NO_TLS if words[:1] in ("+", "-") else cause
    if (words := await _exchange(address, b"")) and (told := _of_words(words)):
        return told
    if not address.socket and await _takes_tls(address):
        return _SPEAKS_TLS
    return cause if cause != HUNG_UP else _SILENT_END


def _known(error: BaseException, address: RedisAddress) -> str | None:
    match error:
        case ssl.SSLError():
            return _of_tls(error)
        case OSError():
            return _of_system(error)
        case MasterNotFoundError():
            return _of_sentinels(str(error), address)
        case RedisTimeoutError():
            return _SILENT
        case _:
            return _of_reply(error)


def _of_reply(error: BaseException) -> str | None:
    match error:
        case NoPermissionError():
            return _of_rights(str(error))
        case ReadOnlyError():
            return "it is a replica that may only be read: name the master"
        case InvalidResponse():
            return "what answers there is not Redis"
        case _:
            return _of_words(str(error))


def _of_system(error: OSError) -> str | None:
    match error:
        case socket.gaierror():
            return "the name of its host cannot be resolved"
        case ConnectionRefusedError():
            return "nothing listens there"
        case ConnectionError():
            return HUNG_UP
        case TimeoutError():
            return _SILENT
        case _:
            return _short(f"it cannot be reached: {error.strerror or type(error).__name__}")


def _of_words(text: str) -> str | None:
    said = next((cause for marks, cause in _SAID if any(mark in text for mark in marks)), None)
    return said or (HUNG_UP if any(word in text for word in _HUNG_UP_WORDS) else None)


def _of_rights(text: str) -> str:
    if command := re.search(r"run the '([\w|]+)' command", text):
        return f"its ACL does not allow the command {command[1]}"
    what = "channels gateway:*" if "channel" in text else "keys gateway:* and arq:*"
    return f"its ACL does not allow the {what}"


def _of_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        return f"its certificate is not trusted: {why} (ssl_ca_certs names another authority)"
    reason = error.reason or ""
    if reason in _NOT_TLS:
        return _SPEAKS_NO_TLS
    if reason.endswith("CERTIFICATE_REQUIRED"):
        return _WANTS_OURS
    return _short(f"TLS fails: {reason.replace('_', ' ').lower() or error}")


def _of_sentinels(text: str, address: RedisAddress) -> str:
    # redis-py writes the errors of the Sentinels that failed into the text.
    _, _, errors = text.partition(" : ")
    told = _of_words(errors)
    if told and told != HUNG_UP:
        return f"a Sentinel answers: {told}"
    if errors.count("Error(") >= len(address.servers):
        return "no Sentinel answers"
    return f"the Sentinels know no master '{address.master}' that is up"


async def _exchange(address: RedisAddress, question: bytes) -> str:
    """Return what the server says over a connection without TLS, or an empty text."""
    writer = None
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            if address.socket:
                reader, writer = await asyncio.open_unix_connection(address.socket)
            else:
                reader, writer = await asyncio.open_connection(*address.servers[0])
            writer.write(question)
            return (await reader.read(_PROBE_BYTES)).decode(errors="replace")
    except OSError:
        return ""
    finally:
        if writer is not None:
            writer.close()


async def _takes_tls(address: RedisAddress) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_connection(*address.servers[0], ssl=context)
    except OSError:
        return False
    writer.close()
    return True


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Return the chain of causes of an error, the original one first."""
    links: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in links:
        links.append(one)
        one = one.__cause__ or one.__context__
    return reversed(links)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
