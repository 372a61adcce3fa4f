package database

// OpenWithin is Open with another time for each statement.
var OpenWithin = open
