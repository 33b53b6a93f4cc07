-- Hands a room of this box to the less loaded of two random others. ARGV: room, fence, floor, two random numbers.
-- Returns the owner and the fence; empty: there is no other box, or a foreign one owns the room.
local tag, fence, floor = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local room = room_of(tag)
if room and room.owner ~= ME and alive(room.owner) then
  if room.foreign then return { '', 0 } end
  return { room.owner, room.fence }
end
local owner = pick(tonumber(ARGV[6]), tonumber(ARGV[7]))
if not owner then return { '', 0 } end
local new_fence = next_fence(math.max(floor, fence))
set_room(tag, owner, new_fence, fence, 0, 0)
return { owner, new_fence }
