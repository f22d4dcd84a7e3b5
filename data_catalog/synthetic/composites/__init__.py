"""Synthetic training pictures: cut-outs over photographs, with the truth that comes from having made them.

`materials` fetches packages of pictures whose licences allow it, `cutouts` reads pictures out of them,
`sequences` composes moving targets for trackers.
"""
