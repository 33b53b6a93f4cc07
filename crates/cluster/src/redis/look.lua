-- Says who owns a room. ARGV: room. Returns the same as claim.lua; of a
-- GONE owner the last fence that clients have tokens of.
local room = room_of(ARGV[3])
if not room then return { NOBODY, '', 0, 0, 0 } end
if room.foreign then return { alive(room.owner) and FOREIGN or NOBODY, '', 0, 0, 0 } end
if room.owner == ME then return { MINE, '', room.fence, room.resumes, 0 } end
if alive(room.owner) then return { OTHER, room.owner, room.fence, 0, 0 } end
return { GONE, room.owner, served_fence(room), 0, 0 }
