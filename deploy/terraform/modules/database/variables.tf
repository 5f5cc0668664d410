variable "name" {
  description = "Prefix of every name (module sizing)."
  type        = string
}

variable "vpc_id" {
  description = "The network; it is the caller's."
  type        = string
}

variable "private_subnet_ids" {
  description = "Subnets of the database, in two zones at least."
  type        = list(string)
}

variable "gateway_security_group_id" {
  description = "Who may connect (module edge)."
  type        = string
}

variable "instance_class" {
  description = "As module sizing says."
  type        = string
}

variable "gib" {
  description = "Storage to begin with, in GiB; it grows to four times that by itself."
  type        = number
}

variable "major_version" {
  description = "Postgres 15 or newer."
  type        = string
  default     = "17"

  validation {
    condition     = can(tonumber(var.major_version)) && try(tonumber(var.major_version) >= 15, false)
    error_message = "A major version from 15."
  }
}

variable "backup_days" {
  description = "Days of which every moment can be brought back."
  type        = number
  default     = 14

  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 35
    error_message = "7 to 35 days."
  }
}

variable "kms_key_arn" {
  description = "Encrypts storage, snapshots and the administrator's secret; a key of the caller's."
  type        = string
}

variable "deletion_protection" {
  description = "Whether the database refuses to be deleted."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
