package archive

import "time"

// SetTimeout changes how long each operation may take.
func (s *S3) SetTimeout(d time.Duration) { s.timeout = d }
