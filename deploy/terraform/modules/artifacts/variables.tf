variable "bucket" {
  description = "Its name, unique in the world."
  type        = string
}

variable "kms_key_arn" {
  description = "Encrypts what it holds; a key of the caller's."
  type        = string
}

variable "retention_days" {
  description = "Days until an object goes; not less than the gateway keeps artifacts (90, or `[artifacts] archive`), or links lead nowhere."
  type        = number
  default     = 90
}

variable "undelete_days" {
  description = "Days that S3 keeps what was removed or written over; erasure is done only after them."
  type        = number
  default     = 1
}

variable "access_logs_bucket" {
  description = "Bucket for access logs; null for none."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
