"""Capture: from a device on the shop's network to sealed records. Fetched as it comes, never decoded here.

* the loop: `loop` drives `lane` after `lane`; each makes one `visit` after the other; `stream` and
  `recorder` turn packets into records; `timeline`, `order` and `meter` say when, in which order and how
  many
* protocols, without I/O: `rtsp`, `rtsp_session`, `rtsp_auth`, `sdp`, `rtp`, `depacketize`, `h264`, `h265`,
  `parameters`, `fmp4`, `mp4boxes`; beside them `udp`, for who refuses TCP
* who is there: `discovery` and `wsd`, `sweep`, `templates`; what a device says of itself: `device`,
  `interview`, `onvif`, `soap`, `profiles`, `channels`; its events: `event_pool`, `pullpoint`, `topics`,
  `device_events`
* care with strangers: `lockout`, `login`, `sessions`, `refusals`, `addresses`, `web`
* child processes without keys: `pictures` and `decode` for single pictures, `compat` for streams that must
  be converted first; both live in a `sandbox`
* bundles, a device's answers in a file: `bundle` and its kin

`ports` is what capture needs from its neighbours. docs/design/capture.md and docs/design/onvif.md go
deeper.
"""
