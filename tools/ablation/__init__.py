"""The paper's claims tried in small: which arms are trained, compared, and what came out."""
