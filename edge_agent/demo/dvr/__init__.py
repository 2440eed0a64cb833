"""A recorder on the network that does not exist: ONVIF, RTSP, and faults on order (docs/virtual-dvr.md)."""
