variable "name" {
  description = "Prefix of every name (module sizing)."
  type        = string
}

variable "image_id" {
  description = "An image with systemd 250 or newer, glibc of Debian 12 or newer, and the AWS command line."
  type        = string
}

variable "root_device" {
  description = "The root device's name in that image."
  type        = string
  default     = "/dev/xvda"
}

variable "instance_type" {
  description = "Two processors carry what docs/performance.md says."
  type        = string
  default     = "c7g.large"
}

variable "min_instances" {
  description = "Instances that always run."
  type        = number
  default     = 2
}

variable "max_instances" {
  description = "Instances at most."
  type        = number
  default     = 4
}

variable "private_subnet_ids" {
  description = "Subnets of the instances, with a way out to what actions call."
  type        = list(string)
}

variable "security_group_id" {
  description = "The gateway's (module edge)."
  type        = string
}

variable "target_group_arn" {
  description = "Where the instances are registered (module edge, target_type = \"instance\")."
  type        = string
}

variable "ports" {
  description = "Where the gateway listens (module edge)."
  type        = object({ public = number, admin = number })
}

variable "load_balancer_cidrs" {
  description = "Networks of the load balancer's subnets: their word about clients is believed."
  type        = list(string)
}

variable "public_url" {
  description = "What vendors call; HubSpot and Twilio sign it."
  type        = string
}

variable "release" {
  description = "The binary in S3, with its digest."
  type        = object({ bucket = string, key = string, sha256 = string })
}

variable "configuration" {
  description = "A .tar.gz of sluice.toml, tenants/ and rds.pem in S3, with its digest. No secret in it."
  type        = object({ bucket = string, key = string, sha256 = string })
}

variable "database_url" {
  description = "Without a password (module database)."
  type        = string
}

variable "database_secret_arn" {
  description = "The database's credentials as JSON (module secrets)."
  type        = string
}

variable "rotation_days" {
  description = "Days between two passwords of the database (module secrets). An instance lives a quarter of that."
  type        = number

  validation {
    condition     = var.rotation_days >= 4 && var.rotation_days <= 1000
    error_message = "4 to 1000 days: the gateway starts anew four times as often, and not more than once a day."
  }
}

variable "secrets" {
  description = "File name below /etc/sluice/secrets to the ARN of a secret. tls-cert, tls-key and scrape-token are needed."
  type        = map(string)

  validation {
    condition     = alltrue([for name in ["tls-cert", "tls-key", "scrape-token"] : contains(keys(var.secrets), name)])
    error_message = "tls-cert, tls-key and scrape-token are needed."
  }

  validation {
    condition     = alltrue([for name in keys(var.secrets) : can(regex("^[a-z0-9][a-z0-9.-]*$", name))])
    error_message = "A file name has lower-case letters, digits, dots and hyphens."
  }
}

variable "secrets_kms_key_arn" {
  description = "The key of the secrets (module secrets)."
  type        = string
}

variable "kms_key_arn" {
  description = "Encrypts the disks; a key of the caller's."
  type        = string
}

variable "artifacts" {
  description = "The bucket that the gateway itself may use (module artifacts); null for none."
  type        = object({ policy_json = string })
  default     = null
}

variable "log_group" {
  description = "The log group that an agent of yours, in the image, ships the journal into; null for none."
  type        = string
  default     = null
}

variable "settings" {
  description = "More overrides of the configuration, such as SLUICE_LIMITS__CONCURRENCY. Nothing secret."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for value in values(var.settings) : !can(regex("['\n]", value))])
    error_message = "A value has no apostrophe and is one line."
  }
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
