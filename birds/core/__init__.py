"""What everything speaks of: specs, records, the store, errors; no torch beyond `machine` and
`checkpoint`.
"""
