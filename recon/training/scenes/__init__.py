"""The procedural scene generator: worlds of simple solids, rendered by ray casting in plain torch on any device.

`layout` makes worlds (`world`) of objects (`objects`) with materials from a texture `atlas`; `cameras` looks at them;
`render` casts the rays; `photo` makes photographs of the light; `sample` makes batches of it all.
"""
