-- Writes ownerships that the store may have lost or that another box may have taken.
-- ARGV: floor, then room, fence, resumes, seats and serial of each.
-- Returns for each kind, owner, fence: MINE (owner: the live box that had it, or empty), OTHER, or FOREIGN.
raise(tonumber(ARGV[3]))
local results = {}
for index = 4, #ARGV, 5 do
  local tag, fence, resumes = ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2])
  local seats, serial = tonumber(ARGV[index + 3]), tonumber(ARGV[index + 4])
  local room = room_of(tag)
  local contested = room and room.owner ~= ME and alive(room.owner)
  local result = { MINE, '', fence }
  if contested and room.foreign then
    result = { FOREIGN, room.owner, 0 }
  elseif contested then
    local wins = fence > room.fence
    if fence == room.fence then
      wins = seats > room.seats or (seats == room.seats and ME < room.owner)
    end
    result = wins and { MINE, room.owner, fence } or { OTHER, room.owner, room.fence }
    if wins then
      local list_key = key('lost', room.owner)
      local length = redis.pcall('RPUSH', list_key, tag)
      if type(length) == 'table' then
        redis.call('DEL', list_key)
        redis.call('RPUSH', list_key, tag)
      end
      redis.call('EXPIRE', list_key, LOST_S)
    end
  end
  if result[1] == MINE then set_room(tag, ME, fence, resumes, seats, serial) end
  results[#results + 1] = result
end
return results
