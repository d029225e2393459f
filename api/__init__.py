"""The HTTP read path: queries over stored events, chains and rejections, and the schemas of the public topics."""
