"""From records to answers: frame, intervals, tables. Needs neither torch nor a network."""
