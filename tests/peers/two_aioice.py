"""Two connections of aioice, somebody else's ICE and TURN, talk through a running box, relayed only.

    two_aioice.py USERNAME PASSWORD TRANSPORT:PORT…     TRANSPORT is udp, tcp, tls or https

Prints one line for each transport; exits with 1 if one failed. https is TLS on the page's port; TLS trusts
what SSL_CERT_FILE names. With PEERS_CALL_SECONDS=900 the call that follows over the first transport lasts
a quarter of an hour, past the first refresh of aioice's channels; otherwise a few seconds.
"""

import asyncio
import os
import sys
import time

from aioice import Connection, TransportPolicy

ROUNDS = 300
PATIENCE = 30
CALL_SECONDS = float(os.environ.get("PEERS_CALL_SECONDS", "3"))
# Between two datagrams of a call that lasts.
PAUSE = 0.3
# A datagram that has not come after so long is lost; UDP on one host loses next to none.
LATE = 5
# What a picture's packet, a sound's packet and padding on a stream make of it.
LENGTHS = (1200, 160, 1, 2, 3, 1401)


def connection(controlling, username, password, transport, port):
    return Connection(
        ice_controlling=controlling,
        components=1,
        transport_policy=TransportPolicy.RELAY,
        turn_server=("127.0.0.1", port),
        turn_username=username,
        turn_password=password,
        turn_transport="udp" if transport == "udp" else "tcp",
        turn_ssl=transport in ("tls", "https"),
    )


async def introduce(one, other):
    """Gathers, and carries each side's candidates to the other."""
    await asyncio.gather(one.gather_candidates(), other.gather_candidates())
    for here, there in ((one, other), (other, one)):
        kinds = {candidate.type for candidate in here.local_candidates}
        if kinds != {"relay"}:
            raise AssertionError(f"candidates of these kinds: {sorted(kinds)}")
        for candidate in here.local_candidates:
            await there.add_remote_candidate(candidate)
        await there.add_remote_candidate(None)
        there.remote_username, there.remote_password = here.local_username, here.local_password


async def echo(side):
    while True:
        await side.send(await side.recv())


async def talk(one, other):
    """Each datagram there and back, and the same the other way round."""
    for here, there in ((one, other), (other, one)):
        echoing = asyncio.create_task(echo(there))
        try:
            for turn in range(ROUNDS):
                sent = turn.to_bytes(4, "big") + os.urandom(LENGTHS[turn % len(LENGTHS)])
                await here.send(sent)
                if await here.recv() != sent:
                    raise AssertionError(f"datagram {turn} came back changed")
        finally:
            echoing.cancel()


async def last(one, other):
    """A datagram every PAUSE seconds each way, for CALL_SECONDS; each must arrive."""
    began = time.monotonic()
    count = 0
    while time.monotonic() - began < CALL_SECONDS:
        for here, there in ((one, other), (other, one)):
            sent = count.to_bytes(4, "big") + os.urandom(160)
            await here.send(sent)
            try:
                got = await asyncio.wait_for(there.recv(), LATE)
            except (asyncio.TimeoutError, ConnectionError) as error:
                after = time.monotonic() - began
                raise AssertionError(f"the call died after {after:.0f} s: {type(error).__name__}") from error
            if got != sent:
                raise AssertionError(f"datagram {count} came changed")
            count += 1
        await asyncio.sleep(PAUSE)
    return count


async def visit(username, password, transport, port, conversation=talk):
    one, other = (connection(first, username, password, transport, port) for first in (True, False))
    try:
        await introduce(one, other)
        await asyncio.gather(one.connect(), other.connect())
        return await conversation(one, other)
    finally:
        await asyncio.gather(one.close(), other.close())


async def main(username, password, doors):
    failed = 0
    for door in doors:
        transport, port = door.split(":")
        began = time.monotonic()
        try:
            await asyncio.wait_for(visit(username, password, transport, int(port)), PATIENCE)
            took = time.monotonic() - began
            print(f"ok aioice over {transport}: {4 * ROUNDS} datagrams relayed in {took:.1f} s")
        except Exception as error:  # whatever it is, the other transports are tried as well
            failed += 1
            print(f"not ok aioice over {transport}: {type(error).__name__}: {error}")
    transport, port = doors[0].split(":")
    try:
        lasting = visit(username, password, transport, int(port), last)
        count = await asyncio.wait_for(lasting, CALL_SECONDS + PATIENCE)
        print(f"ok aioice in a call of {CALL_SECONDS:.0f} s: {count} datagrams relayed")
    except Exception as error:
        failed += 1
        print(f"not ok aioice in a call of {CALL_SECONDS:.0f} s: {type(error).__name__}: {error}")
    print(f"# pass {len(doors) + 1 - failed}\n# fail {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:])))
