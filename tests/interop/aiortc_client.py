"""A client of aiortc, a third-party implementation of WebRTC, takes part in a call by docs/protocol.md.

    aiortc_client.py websocket|socket.io ORIGIN ROOM [relay]

Sends a tone and a picture, and receives audio and video. relay: only through the relay. Prints one line per event: `joined`,
`received` as soon as FRAMES frames of both kinds have arrived, `peer-leave`. Leaves on SIGTERM and after `peer-leave`. TLS trusts
the certificates of SSL_CERT_FILE.
"""

import array
import asyncio
import json
import math
import signal
import ssl
import sys

import aiohttp
import socketio
from aiortc import (
    AudioStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp

FRAMES = 50
TONE_HZ = 440


class ToneTrack(AudioStreamTrack):
    """A tone instead of the silence of the base class."""

    async def recv(self):
        frame = await super().recv()
        times = (frame.pts + index for index in range(frame.samples))
        samples = (round(8000 * math.sin(2 * math.pi * TONE_HZ * time / frame.sample_rate)) for time in times)
        frame.planes[0].update(array.array("h", samples).tobytes())
        return frame


class WebSocketSignaling:
    """The frames of the WebSocket /ws."""

    async def join(self, session, origin, room):
        self.socket = await session.ws_connect(f"{origin}/ws")
        await self.send("join", room=room)

    async def send(self, type, **fields):
        await self.socket.send_str(json.dumps({"type": type, **fields}))

    async def receive(self):
        return await self.socket.receive_json()

    async def leave(self):
        await self.send("leave")
        await self.socket.close()


class SocketIoSignaling:
    """The events of the Socket.IO example, received as the frames of the WebSocket."""

    def __init__(self):
        self.frames = asyncio.Queue()

    async def join(self, session, origin, room):
        self.client = socketio.AsyncClient(http_session=session, reconnection=False)
        handlers = {
            "ice-servers": lambda servers: {**servers, "type": "resp-join", "peer": None},
            "resp-join": lambda peer, servers: {**servers, "type": "resp-join", "peer": peer},
            "new-peer": lambda peer: {"type": "new-peer", "id": peer},
            "peer-leave": lambda peer: {"type": "peer-leave", "id": peer},
            **{name: self.add_type(name) for name in ("offer", "answer", "candidate", "error")},
        }
        for name, handler in handlers.items():
            self.client.on(name, self.queue(handler))
        await self.client.connect(origin)
        await self.client.emit("join", room)

    @staticmethod
    def add_type(name):
        return lambda fields: {**fields, "type": name}

    def queue(self, handler):
        async def handle(*arguments):
            await self.frames.put(handler(*arguments))

        return handle

    async def send(self, type, **fields):
        await self.client.emit(type, fields)

    async def receive(self):
        return await self.frames.get()

    async def leave(self):
        await self.client.emit("leave")
        await self.client.disconnect()


class Call:
    """One call with the other participant of the room."""

    def __init__(self, signaling, policy):
        self.signaling = signaling
        self.policy = policy
        self.connection = None
        self.receivers = []
        self.frames = {"audio": 0, "video": 0}

    async def run(self):
        while True:
            frame = await self.signaling.receive()
            match frame["type"]:
                case "resp-join":
                    self.ice_servers = [RTCIceServer(**server) for server in frame["iceServers"]]
                    print("joined", flush=True)
                    if frame["peer"]:
                        self.connect(frame["peer"])
                        await self.describe("offer", await self.connection.createOffer())
                case "new-peer":
                    self.connect(frame["id"])
                case "offer":
                    await self.connection.setRemoteDescription(RTCSessionDescription(**frame["sdp"]))
                    await self.describe("answer", await self.connection.createAnswer())
                case "answer":
                    await self.connection.setRemoteDescription(RTCSessionDescription(**frame["sdp"]))
                case "candidate":
                    await self.add_candidate(frame["candidate"])
                case "peer-leave":
                    print("peer-leave", flush=True)
                    return
                case "error":
                    raise RuntimeError(f"{frame['code']}: {frame['message']}")

    def connect(self, peer):
        self.peer = peer
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=self.ice_servers, iceTransportPolicy=self.policy))
        self.connection.on("track", lambda track: self.receivers.append(asyncio.create_task(self.count_frames(track))))
        self.connection.addTrack(ToneTrack())
        self.connection.addTrack(VideoStreamTrack())

    async def describe(self, type, description):
        # It gathers all candidates, which are in the description.
        await self.connection.setLocalDescription(description)
        local = self.connection.localDescription
        await self.signaling.send(type, target=self.peer, sdp={"type": local.type, "sdp": local.sdp})

    async def add_candidate(self, received):
        """Firefox ends its candidates with an empty one, the page with null."""
        if not received or not received["candidate"]:
            return
        candidate = candidate_from_sdp(received["candidate"].removeprefix("candidate:"))
        candidate.sdpMid, candidate.sdpMLineIndex = received["sdpMid"], received["sdpMLineIndex"]
        await self.connection.addIceCandidate(candidate)

    async def count_frames(self, track):
        try:
            while True:
                await track.recv()
                self.frames[track.kind] += 1
                if self.frames[track.kind] == FRAMES and min(self.frames.values()) >= FRAMES:
                    print("received", flush=True)
        except MediaStreamError:
            return  # the track has ended

    async def close(self):
        if self.connection:
            await self.connection.close()
        await asyncio.gather(*self.receivers)


async def main(way, origin, room, policy):
    signaling = {"websocket": WebSocketSignaling, "socket.io": SocketIoSignaling}[way]()
    call = Call(signaling, policy)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
    async with aiohttp.ClientSession(connector=connector) as session:
        await signaling.join(session, origin, room)
        running = asyncio.create_task(call.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        await asyncio.wait([running])
        await signaling.leave()
        await call.close()
        if not running.cancelled():
            running.result()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], RTCIceTransportPolicy.RELAY if "relay" in sys.argv[4:] else RTCIceTransportPolicy.ALL))
