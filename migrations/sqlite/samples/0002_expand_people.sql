INSERT INTO audit VALUES (2, 1767225600000, 'user:ops', 'lane.pause', 'acme/pay', 'too many errors', 'acme');
INSERT INTO sessions VALUES (zeroblob(32), 'ops', 1767225600000, 1767268800000);
