-- Deletes the lease of this box.
redis.call('DEL', key('box', ME), key('away', ME), key('lost', ME))
redis.pcall('SREM', BOXES, ME)
return 1
