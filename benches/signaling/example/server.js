// A typical signaling server in tutorials: rooms for two over socket.io that forward all messages unchecked. The baseline
// of the signaling bench.
import { createServer } from 'node:http';
import express from 'express';
import { Server } from 'socket.io';

const app = express();
const http = createServer(app);
const io = new Server(http);

app.get('/', (request, response) => response.send('A call page would be here.'));

io.on('connection', (socket) => {
  socket.on('join', ({ room }) => {
    const members = [...(io.sockets.adapter.rooms.get(room) ?? [])];
    if (members.length >= 2) return socket.emit('error', { code: 'room-full' });
    socket.join(room);
    socket.emit('resp-join', { id: socket.id, room, peer: members[0] ?? null });
    socket.to(room).emit('new-peer', { id: socket.id });
  });
  const leave = () => socket.rooms.forEach((room) => socket.to(room).emit('peer-leave', { id: socket.id }));
  socket.on('leave', () => { leave(); socket.rooms.forEach((room) => room !== socket.id && socket.leave(room)); });
  socket.on('disconnecting', leave);
  for (const type of ['offer', 'answer', 'candidate']) {
    socket.on(type, ({ target, ...rest }) => io.to(target).emit(type, { ...rest, from: socket.id }));
  }
});

http.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(http.address().port));
