"""Two clients of python-socketio join a room of the server and exchange an offer, an answer and a candidate.

    socketio_calls.py HTTPS_PORT

Prints one line per transport; exits with 1 if one failed. TLS trusts the certificates of SSL_CERT_FILE.
"""

import asyncio
import ssl
import sys

import aiohttp
import socketio

TIMEOUT_SECONDS = 30
EVENTS = ("resp-join", "new-peer", "peer-leave", "offer", "answer", "candidate", "ice-servers", "error")


class Participant:
    """A client with a queue of the events it received."""

    def __init__(self, session):
        self.client = socketio.AsyncClient(http_session=session, reconnection=False)
        self.events = asyncio.Queue()
        for name in EVENTS:
            self.client.on(name, self.record(name))

    def record(self, name):
        async def handler(*arguments):
            await self.events.put((name, *arguments))

        return handler

    async def join(self, port, room, transports):
        await self.client.connect(f"https://127.0.0.1:{port}", transports=transports)
        await self.client.emit("join", room)

    async def expect(self, name):
        received, *arguments = await self.events.get()
        if received != name:
            raise AssertionError(f"{received} {arguments} instead of {name}")
        return arguments


async def exchange(session, port, transports):
    room = f"python-{'-'.join(transports)}"
    first, second, third = (Participant(session) for _ in range(3))
    await first.join(port, room, transports)
    await first.expect("ice-servers")
    await second.join(port, room, transports)
    first_id, servers = await second.expect("resp-join")
    if not servers["iceServers"]:
        raise AssertionError("no ICE servers")
    (second_id,) = await first.expect("new-peer")
    for sender, receiver, target, source, name, field, value in (
        (second, first, first_id, second_id, "offer", "sdp", {"type": "offer", "sdp": "v=0\r\n"}),
        (first, second, second_id, first_id, "answer", "sdp", {"type": "answer", "sdp": "v=0\r\n"}),
        (second, first, first_id, second_id, "candidate", "candidate", {"candidate": "candidate:1", "sdpMid": "0"}),
    ):
        await sender.client.emit(name, {"target": target, field: value})
        (received,) = await receiver.expect(name)
        if received != {"from": source, field: value}:
            raise AssertionError(f"{received} instead of {value}")
    await third.join(port, room, transports)
    (refusal,) = await third.expect("error")
    if refusal["code"] != "room-full":
        raise AssertionError(f"{refusal} for the third person")
    await second.client.disconnect()
    if await first.expect("peer-leave") != [second_id]:
        raise AssertionError("another participant left")
    for participant in (first, third):
        await participant.client.disconnect()


async def main(port):
    failed = 0
    variants = (["polling"], ["websocket"], ["polling", "websocket"])
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
    async with aiohttp.ClientSession(connector=connector) as session:
        for transports in variants:
            name = f"python-socketio over {', then '.join(transports)}"
            try:
                await asyncio.wait_for(exchange(session, port, transports), TIMEOUT_SECONDS)
                print(f"ok {name}")
            except Exception as error:  # after any error the other transports are tried as well
                failed += 1
                print(f"not ok {name}: {type(error).__name__}: {error}")
    print(f"# pass {len(variants) - failed}\n# fail {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]))))
