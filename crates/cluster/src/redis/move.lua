-- Hands a room of this box to the less loaded of two random others. ARGV: room, fence, serial, floor, two random
-- numbers.
-- Returns the owner and the fence; empty: there is no other box, a foreign one owns the room, or
-- the request is late.
local tag, fence, serial, floor = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local room = room_of(tag)
if room and room.owner ~= ME and alive(room.owner) then
  if room.foreign then return { '', 0 } end
  return { room.owner, room.fence }
end
if room and room.owner == ME and room.serial > serial then return { '', 0 } end
local owner = pick(tonumber(ARGV[7]), tonumber(ARGV[8]))
if not owner then return { '', 0 } end
local new_fence = next_fence(math.max(floor, fence))
set_room(tag, owner, new_fence, fence, 0, 0)
return { owner, new_fence }
