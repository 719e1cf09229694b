//! Threat mappings: which ids of UN R155 Annex 5 and of the Automotive Threat Matrix exist.
