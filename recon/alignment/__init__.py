"""From predictions to one verified world: matches, bundle adjustment, depth fitted to what they found."""
