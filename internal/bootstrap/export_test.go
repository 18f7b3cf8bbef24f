package bootstrap

// Dial is the function that opens all connections to the apiserver.
var Dial = &dial
