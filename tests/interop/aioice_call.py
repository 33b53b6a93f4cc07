"""Two connections of aioice, a third-party implementation of ICE and TURN, exchange data through the relay only.

    aioice_call.py USERNAME PASSWORD TRANSPORT:PORT…     TRANSPORT is udp, tcp, tls or https

Prints one line per transport; exits with 1 if one failed. https is TLS on the page's port; TLS trusts the certificates of
SSL_CERT_FILE. A call over the first transport follows, of INTEROP_CALL_SECONDS, by default 3; 900 is beyond the first refresh
of aioice's channels.
"""

import asyncio
import os
import sys
import time

from aioice import Connection, TransportPolicy

DATAGRAMS_PER_DIRECTION = 300
TIMEOUT_SECONDS = 30
CALL_SECONDS = float(os.environ.get("INTEROP_CALL_SECONDS", "3"))
# Between two datagrams of the call.
SEND_INTERVAL_SECONDS = 0.3
# A datagram that has not arrived after this time counts as lost; UDP on one host loses next to none.
LOST_AFTER_SECONDS = 5
# Sizes of video and audio packets, and sizes that need padding on a stream.
PAYLOAD_BYTES = (1200, 160, 1, 2, 3, 1401)


def create_connection(controlling, username, password, transport, port):
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


async def exchange_candidates(first, second):
    """Gathers candidates and passes them to the other connection."""
    await asyncio.gather(first.gather_candidates(), second.gather_candidates())
    for local, remote in ((first, second), (second, first)):
        types = {candidate.type for candidate in local.local_candidates}
        if types != {"relay"}:
            raise AssertionError(f"candidates of types {sorted(types)}")
        for candidate in local.local_candidates:
            await remote.add_remote_candidate(candidate)
        await remote.add_remote_candidate(None)
        remote.remote_username, remote.remote_password = local.local_username, local.local_password


async def echo(connection):
    while True:
        await connection.send(await connection.recv())


async def exchange_echoes(first, second):
    """Sends datagrams from each connection, one at a time, and compares their echoes."""
    for sender, receiver in ((first, second), (second, first)):
        echo_task = asyncio.create_task(echo(receiver))
        try:
            for index in range(DATAGRAMS_PER_DIRECTION):
                sent = index.to_bytes(4, "big") + os.urandom(PAYLOAD_BYTES[index % len(PAYLOAD_BYTES)])
                await sender.send(sent)
                if await sender.recv() != sent:
                    raise AssertionError(f"the echo of datagram {index} differs")
        finally:
            echo_task.cancel()


async def keep_call(first, second):
    """Sends a datagram in each direction every SEND_INTERVAL_SECONDS, for CALL_SECONDS; every one must arrive."""
    started = time.monotonic()
    count = 0
    while time.monotonic() - started < CALL_SECONDS:
        for sender, receiver in ((first, second), (second, first)):
            sent = count.to_bytes(4, "big") + os.urandom(160)
            await sender.send(sent)
            try:
                received = await asyncio.wait_for(receiver.recv(), LOST_AFTER_SECONDS)
            except (asyncio.TimeoutError, ConnectionError) as error:
                elapsed = time.monotonic() - started
                raise AssertionError(f"the call ended after {elapsed:.0f} s: {type(error).__name__}") from error
            if received != sent:
                raise AssertionError(f"datagram {count} differs")
            count += 1
        await asyncio.sleep(SEND_INTERVAL_SECONDS)
    return count


async def connect_and_run(username, password, transport, port, exchange):
    first, second = (create_connection(controlling, username, password, transport, port) for controlling in (True, False))
    try:
        await exchange_candidates(first, second)
        await asyncio.gather(first.connect(), second.connect())
        return await exchange(first, second)
    finally:
        await asyncio.gather(first.close(), second.close())


async def main(username, password, targets):
    failed = 0
    for target in targets:
        transport, port = target.split(":")
        started = time.monotonic()
        try:
            await asyncio.wait_for(connect_and_run(username, password, transport, int(port), exchange_echoes), TIMEOUT_SECONDS)
            elapsed = time.monotonic() - started
            print(f"ok aioice over {transport}: {4 * DATAGRAMS_PER_DIRECTION} datagrams relayed in {elapsed:.1f} s")
        except Exception as error:  # after any error the other transports are tried as well
            failed += 1
            print(f"not ok aioice over {transport}: {type(error).__name__}: {error}")
    transport, port = targets[0].split(":")
    try:
        call = connect_and_run(username, password, transport, int(port), keep_call)
        count = await asyncio.wait_for(call, CALL_SECONDS + TIMEOUT_SECONDS)
        print(f"ok aioice in a call of {CALL_SECONDS:.0f} s: {count} datagrams relayed")
    except Exception as error:
        failed += 1
        print(f"not ok aioice in a call of {CALL_SECONDS:.0f} s: {type(error).__name__}: {error}")
    print(f"# pass {len(targets) + 1 - failed}\n# fail {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:])))
