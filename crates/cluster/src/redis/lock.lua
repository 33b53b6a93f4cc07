-- Lets this box order a certificate, unless another one does. A box that is gone does not. ARGV: seconds that it may take.
-- Returns whether it may.
local holder = text_of('webrtc-box:order')
if holder and holder ~= ME and (alive(holder) or redis.call('EXISTS', key('away', holder)) == 1) then return 0 end
redis.call('SET', 'webrtc-box:order', ME, 'EX', ARGV[3])
return 1
