-- Lists the boxes.
local nodes = list()
return nodes
