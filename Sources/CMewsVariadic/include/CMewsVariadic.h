/* The variadic functions of the public header: C, because Swift cannot define them. */
