"""A sweep as one page: `content` reads the records, `page` makes HTML of it, `watch` serves it
live.
"""
