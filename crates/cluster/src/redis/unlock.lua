-- Lets other boxes order a certificate, if this one could until now.
if text_of('webrtc-box:order') == ME then redis.call('DEL', 'webrtc-box:order') end
return 1
