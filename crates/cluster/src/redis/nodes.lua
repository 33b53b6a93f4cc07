-- Lists the boxes, also a second one of a name, which gets no lease and counts as withdrawn.
local nodes = list()
for index = 1, #nodes do
  local id, text = nodes[index][1], nodes[index][2]
  local double = text_of(key('double', name_of(id)))
  if is_id(double) and double ~= id then nodes[#nodes + 1] = { double, text, 1, 0 } end
end
return nodes
