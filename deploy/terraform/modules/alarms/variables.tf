variable "name" {
  description = "Prefix of every name (module sizing)."
  type        = string
}

variable "topic_arn" {
  description = "The SNS topic that people are told by."
  type        = string
}

variable "load_balancer_suffix" {
  description = "Of module edge."
  type        = string
}

variable "target_group_suffix" {
  description = "Of module edge."
  type        = string
}

variable "database_identifier" {
  description = "Of module database."
  type        = string
}

variable "log_group" {
  description = "Where the gateway's log goes."
  type        = string
}

variable "restarts" {
  description = "Of module service, whose tasks are locked out of the database if they are not started anew; null without it."
  type        = object({ service_arn = string, schedule_group = string })
  default     = null
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
