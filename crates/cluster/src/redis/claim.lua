-- Makes this box, or another one, the owner of a room, unless its owner has a lease.
-- ARGV: room, serial, floor, whether elsewhere (0 no, 1 if less loaded, 2 if any), load, two random numbers.
-- Returns kind, owner, fence, resumes, whether a value was replaced that cannot be read. Of MINE the owner is the last one
-- if its lease was gone.
local tag, serial, floor, elsewhere, load = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local room, corrupt = room_of(tag)
if room and room.owner == ME and not room.foreign then
  set_room(tag, ME, room.fence, room.resumes, math.max(room.seats, 1), math.max(serial, room.serial))
  return { MINE, '', room.fence, room.resumes, 0 }
end
if room and alive(room.owner) then
  if room.foreign then return { FOREIGN, room.owner, 0, 0, 0 } end
  return { OTHER, room.owner, room.fence, 0, 0 }
end
local from, resumes = '', 0
if room and not room.foreign then
  from, resumes, floor = room.owner, served_fence(room), math.max(floor, room.fence)
end
local owner = ME
if elsewhere ~= '0' then
  local chosen, chosen_load = pick(tonumber(ARGV[8]), tonumber(ARGV[9]))
  if chosen and (elsewhere == '2' or chosen_load < load) then owner = chosen end
end
local fence = next_fence(floor)
-- Who joins will have a seat here. Written now, it needs no request of its own.
local seats = owner == ME and 1 or 0
set_room(tag, owner, fence, resumes, seats, owner == ME and serial or 0)
if owner == ME then return { MINE, from, fence, resumes, corrupt and 1 or 0 } end
return { OTHER, owner, fence, 0, 0 }
