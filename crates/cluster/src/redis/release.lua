-- Deletes ownerships of this box, each only if fence and serial match. ARGV: room, fence and serial of each.
for index = 3, #ARGV, 3 do
  local room = room_of(ARGV[index])
  local matches = room and not room.foreign and room.owner == ME
  if matches and room.fence == tonumber(ARGV[index + 1]) and room.serial == tonumber(ARGV[index + 2]) then
    redis.call('DEL', key('room', ARGV[index]))
  end
end
return 1
