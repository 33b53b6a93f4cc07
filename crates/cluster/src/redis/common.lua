-- Prepended to each script, after a line that sets DOMAIN, the common name of the service. ARGV[1] is the box that asks, ARGV[2] its key id. Keys are built here rather than passed in
-- KEYS, which only Redis Cluster mode needs.
local ME, KEY, PROTOCOL = ARGV[1], ARGV[2], 1
local LEASE_MS, ROOM_S, LOST_S = 3000, 86400, 60
-- How long a box that another one chose has for its first claim: before, it does not know of the room.
local CHOSEN_S = 300
local MAX_FENCE = 9007199254740991

local function key(kind, name)
  return 'webrtc-box:' .. kind .. ':' .. name
end
local BOXES, COUNTER = 'webrtc-box:boxes', 'webrtc-box:fence'

local function name_of(id)
  return string.match(id, '^(.*)#')
end

-- A lease without an expiry is none: nobody would ever take over.
local function alive(id)
  return redis.call('PTTL', key('box', id)) > 0
end

-- The text of a key; false: none; nil: another type.
local function text_of(name)
  local text = redis.pcall('GET', name)
  if type(text) ~= 'table' then return text end
  if string.find(text.err, 'WRONGTYPE') then return nil end
  return redis.call('GET', name)
end

local function decode(text)
  local ok, value = pcall(cjson.decode, text)
  return ok and type(value) == 'table' and value or nil
end

-- A whole number from 1 that a double represents exactly.
local function is_fence(number)
  return type(number) == 'number' and number >= 1 and number <= MAX_FENCE and number == math.floor(number)
end

-- Accepts what the boxes can read: see `BoxId`.
local function is_id(id)
  if type(id) ~= 'string' then return false end
  local name, boot = string.match(id, '^([a-z0-9.-]+)#(%x+)$')
  if not name or #name > 253 or #boot > 16 then return false end
  for label in string.gmatch(name .. '.', '([^.]*)%.') do
    if #label < 1 or #label > 63 or string.find(label, '^-') or string.find(label, '-$') then return false end
  end
  return true
end

-- Whether a box has a name below DOMAIN. Clients are sent to no other, whatever stands in the store.
local function is_ours(id)
  local suffix = '.' .. DOMAIN
  return string.sub(name_of(id), -#suffix) == suffix
end

-- The ownership of a room, and whether there is a value that cannot be read.
local function room_of(tag)
  local text = text_of(key('room', tag))
  if text == false then return nil, false end
  local room = text and decode(text)
  if not room or not is_id(room.owner) or not is_ours(room.owner) then return nil, true end
  room.foreign = room.v ~= PROTOCOL or room.key ~= KEY
  if room.foreign then return room, false end
  if not is_fence(room.fence) then return nil, true end
  room.resumes = is_fence(room.resumes) and room.resumes or 0
  room.seats = is_fence(room.seats) and room.seats or 0
  room.serial = is_fence(room.serial) and room.serial or 0
  return room, false
end

-- The last fence that clients have tokens of. An owner that another box chose has served nobody before its first claim.
local function served_fence(room)
  return room.serial == 0 and room.resumes or room.fence
end

local function set_room(tag, owner, fence, resumes, seats, serial)
  local form = '{"v":%d,"key":"%s","owner":"%s","fence":%.0f,"resumes":%.0f,"seats":%.0f,"serial":%.0f}'
  local text = string.format(form, PROTOCOL, KEY, owner, fence, resumes, seats, serial)
  redis.call('SET', key('room', tag), text, 'EX', serial == 0 and CHOSEN_S or ROOM_S)
end

-- Raises the counter to a fence that a box knows: the store may have lost data.
local function raise(floor)
  local text = text_of(COUNTER)
  local counter = text and string.find(text, '^[1-9]%d*$') and tonumber(text)
  if not is_fence(counter) or counter < floor then
    redis.call('SET', COUNTER, string.format('%.0f', floor))
  end
end

-- The counter stays at the highest fence, to which only a corrupt value brings it. Then the numbers of seats decide.
local function next_fence(floor)
  raise(floor)
  if tonumber(redis.call('GET', COUNTER)) >= MAX_FENCE then return MAX_FENCE end
  return redis.call('INCR', COUNTER)
end

-- The other boxes with a lease, as id, text, withdrawn, age in milliseconds; and those without.
local function list()
  local ids, nodes, gone = redis.pcall('SMEMBERS', BOXES), {}, {}
  if ids.err then ids = {} end
  table.sort(ids)
  for _, id in ipairs(ids) do
    local name, withdrawn = key('box', id), 0
    local left = redis.call('PTTL', name)
    if left <= 0 then
      name, withdrawn = key('away', id), 1
      left = redis.call('PTTL', name)
    end
    local text = left > 0 and text_of(name)
    if id == ME then
      -- Not one of the others.
    elseif text and is_id(id) then
      nodes[#nodes + 1] = { id, text, withdrawn, math.max(LEASE_MS - left, 0) }
    elseif left <= 0 then
      gone[#gone + 1] = id
    end
  end
  return nodes, gone
end

-- The less loaded of two random boxes that take new rooms, and its load.
local function pick(first, second)
  local candidates = {}
  for _, node in ipairs(list()) do
    local lease = decode(node[2])
    local takes_rooms = lease and lease.v == PROTOCOL and lease.key == KEY and not lease.draining
    if takes_rooms and node[3] == 0 and is_ours(node[1]) and name_of(node[1]) ~= name_of(ME) then
      candidates[#candidates + 1] = { node[1], tonumber(lease.load) or 0 }
    end
  end
  local count = #candidates
  if count == 0 then return nil end
  local index = first % count
  local one = candidates[index + 1]
  if count == 1 then return one[1], one[2] end
  local other = candidates[(index + 1 + second % (count - 1)) % count + 1]
  if other[2] < one[2] then one = other end
  return one[1], one[2]
end

local NOBODY, MINE, OTHER, GONE, FOREIGN = 0, 1, 2, 3, 4
