"""Two connections of aioice, somebody else's ICE and TURN, talk through a running box, relayed only.

    two_aioice.py USERNAME PASSWORD TRANSPORT:PORT…     TRANSPORT is udp, tcp, tls or https

Prints one line for each transport; exits with 1 if one failed. https is TLS on the page's port; TLS trusts
what SSL_CERT_FILE names.
"""

import asyncio
import os
import sys
import time

from aioice import Connection, TransportPolicy

ROUNDS = 300
PATIENCE = 30
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


async def visit(username, password, transport, port):
    one, other = (connection(first, username, password, transport, port) for first in (True, False))
    try:
        await introduce(one, other)
        await asyncio.gather(one.connect(), other.connect())
        await talk(one, other)
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
    print(f"# pass {len(doors) - failed}\n# fail {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:])))
