-- Renews the lease of this box, unless another one has its name; extends some of its rooms. At rest this is one write.
-- ARGV: lease, whether withdrawn (0 or 1), floor, then room, fence and seats of each ownership to extend.
-- Returns whether renewed, whether the lease was still there, the other boxes, the rooms lost to other boxes.
local lease, withdrawn, floor = ARGV[3], ARGV[4] == '1', tonumber(ARGV[5])
local held = alive(ME)
local nodes, gone = list()
for _, node in ipairs(nodes) do
  local same_name = name_of(node[1]) == name_of(ME)
  if same_name and node[3] == 0 and not held then
    -- Only for who looks for mistakes: see nodes.lua.
    redis.call('SET', key('double', name_of(ME)), ME, 'PX', LEASE_MS)
    return { 0, 0, nodes, {} }
  end
end
local kept, other = key('box', ME), key('away', ME)
if withdrawn then kept, other = other, kept end
redis.call('SET', kept, lease, 'PX', LEASE_MS)
if redis.call('EXISTS', other) == 1 then redis.call('DEL', other) end

local member = redis.pcall('SISMEMBER', BOXES, ME)
if type(member) == 'table' then redis.call('DEL', BOXES) end
if member ~= 1 then redis.call('SADD', BOXES, ME) end
for _, id in ipairs(gone) do redis.call('SREM', BOXES, id) end
raise(floor)

-- Stays until the box asserts the room: the answer to this may be lost.
local lost = redis.pcall('SMEMBERS', key('lost', ME))
if lost.err then
  redis.call('DEL', key('lost', ME))
  lost = {}
end
for index = 6, #ARGV, 3 do
  local tag, fence = ARGV[index], tonumber(ARGV[index + 1])
  local room = room_of(tag)
  if room and not room.foreign and room.owner == ME and room.fence == fence then
    set_room(tag, ME, fence, room.resumes, tonumber(ARGV[index + 2]), room.serial)
  else
    lost[#lost + 1] = tag
  end
end
return { 1, held and 1 or 0, nodes, lost }
