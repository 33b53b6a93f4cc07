-- Writes ownerships that the store may have lost or that another box may have taken.
-- ARGV: floor, then room, fence, resumes, seats and serial of each.
-- Returns for each kind, box, fence, seats: OTHER or FOREIGN with the owner and its seats, as far as they are known; or MINE with
-- the live box that had it, or nothing, and the fence before, which may be that of an owner that is gone.
raise(tonumber(ARGV[3]))
local results = {}
for index = 4, #ARGV, 5 do
  local tag, fence, resumes = ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2])
  local seats, serial = tonumber(ARGV[index + 3]), tonumber(ARGV[index + 4])
  local room = room_of(tag)
  redis.pcall('SREM', key('lost', ME), tag)
  if room and room.owner == ME and not room.foreign then
    serial = math.max(serial, room.serial)
    -- An assertion that was sent at the same time may have learned of an owner that is gone.
    if room.fence == fence then resumes = math.max(resumes, room.resumes) end
  end
  local contested = room and room.owner ~= ME and alive(room.owner)
  if room and room.owner ~= ME and not contested and not room.foreign then
    resumes = math.max(resumes, served_fence(room))
  end
  local result = { MINE, '', resumes, 0 }
  if contested and room.foreign then
    result = { FOREIGN, room.owner, 0, 0 }
  elseif contested then
    local wins = fence > room.fence
    if fence == room.fence then
      wins = seats > room.seats or (seats == room.seats and ME < room.owner)
    end
    result = wins and { MINE, room.owner, resumes, 0 } or { OTHER, room.owner, room.fence, room.seats }
    if wins then
      local lost = key('lost', room.owner)
      local added = redis.pcall('SADD', lost, tag)
      if type(added) == 'table' then
        redis.call('DEL', lost)
        redis.call('SADD', lost, tag)
      end
      redis.call('EXPIRE', lost, LOST_S)
    end
  end
  if result[1] == MINE then set_room(tag, ME, fence, resumes, seats, serial) end
  results[#results + 1] = result
end
return results
