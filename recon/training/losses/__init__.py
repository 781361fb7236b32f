"""The losses of the field, one idea a file. All compute in float32, keep static shapes, and are 0 (with gradients of 0)
where a mask leaves nothing."""
