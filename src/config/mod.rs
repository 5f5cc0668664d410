//! The configuration: read, resolved and validated once; what the rest of the program sees is
//! already right. One section per file.
