"""Sealing: every fragment once, under its epoch's key, for the recipients alone (docs/format.md).

`record` is the unit, `epoch` its keys, `sealer` makes, `opener` opens and judges, `rewrap` hands keys on,
`keys` says who.
"""
